// Concurrency keys: of the jobs of one key only the first may be claimed, and the one that was holds the key until it is final.
import type Database from 'better-sqlite3'
import { isFinal, type Job } from '../../job.js'

/** Everything here runs inside a transaction that group commit began. */
export function createTurns(db: Database.Database) {
  const holder = db.prepare<[string], { id: string }>('SELECT id FROM key_holders WHERE key = ?')
  const take = db.prepare('INSERT OR IGNORE INTO key_holders VALUES (?, ?)')
  const letGo = db.prepare('DELETE FROM key_holders WHERE key = ? AND id = ?')
  const first = db.prepare<[string], { id: string }>(
    `SELECT id FROM jobs WHERE concurrency_key = ? AND status = 'pending' ORDER BY rank, id LIMIT 1`,
  )
  const holdOthers = db.prepare(
    `UPDATE jobs SET held = 1 WHERE concurrency_key = ? AND status = 'pending' AND held = 0 AND id <> ?`,
  )
  const allow = db.prepare('UPDATE jobs SET held = 0 WHERE id = ? AND held = 1')

  return {
    /** The job that holds the key, or null. */
    holderOf: (key: string): string | null => holder.all(key)[0]?.id ?? null,

    /** To be told of every job that was inserted or moved. */
    moved({ id, status, concurrency_key: key }: Job): void {
      if (key === null) return
      if (status === 'processing') take.run(key, id)
      if (isFinal(status)) letGo.run(key, id)
      const next = holder.all(key)[0] ?? first.all(key)[0]
      if (next === undefined) return
      holdOthers.run(key, next.id)
      allow.run(next.id)
    },
  }
}

export type Turns = ReturnType<typeof createTurns>
