// Pauses: types whose jobs are not claimed for the time being, on any node.
import type { Pauses } from '../store.js'
import type { Queries } from './connection.js'

/** Stands for all types, also those that come later. */
const ALL = ''

export async function readPauses(db: Queries): Promise<Pauses> {
  const paused = (await db.all<{ type: string }>('SELECT type FROM pauses ORDER BY type')).map(({ type }) => type)
  return { all: paused.includes(ALL), types: paused.filter((type) => type !== ALL) }
}

/** Inside a transaction that group commit began. */
export async function setPause(db: Queries, type: string | null, paused: boolean): Promise<Pauses> {
  const text = paused ? 'INSERT INTO pauses VALUES ($1) ON CONFLICT DO NOTHING' : 'DELETE FROM pauses WHERE type = $1'
  await db.run(text, [type ?? ALL])
  return readPauses(db)
}
