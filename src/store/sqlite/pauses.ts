// Pauses: types whose jobs are not claimed for the time being.
import type Database from 'better-sqlite3'
import type { Pauses } from '../store.js'

/** Stands for all types, also those that come later. */
const ALL = ''

/** Everything here runs inside a transaction that group commit began. */
export function createPauses(db: Database.Database) {
  const select = db.prepare<[], { type: string }>('SELECT type FROM pauses ORDER BY type')
  const insert = db.prepare('INSERT OR IGNORE INTO pauses VALUES (?)')
  const remove = db.prepare('DELETE FROM pauses WHERE type = ?')

  function list(): Pauses {
    const paused = select.all().map(({ type }) => type)
    return { all: paused.includes(ALL), types: paused.filter((type) => type !== ALL) }
  }

  return {
    list,
    set(type: string | null, paused: boolean): Pauses {
      const change = paused ? insert : remove
      change.run(type ?? ALL)
      return list()
    },
  }
}
