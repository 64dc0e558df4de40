// Concurrency keys: of the jobs of one key only the first may be claimed, and the one that was holds the key until it is final.
import { isFinal, type Job } from '../../job.js'
import type { Queries } from './connection.js'
import { lockNames } from './locks.js'

/** Everything here runs inside a transaction that group commit began. */
export function createTurns(db: Queries) {
  const holderOf = async (key: string): Promise<string | null> =>
    (await db.all<{ id: string }>('SELECT id FROM key_holders WHERE key = $1', [key]))[0]?.id ?? null

  const firstOf = async (key: string): Promise<string | null> => {
    const first = `SELECT id FROM jobs WHERE concurrency_key = $1 AND status = 'pending' ORDER BY rank, id LIMIT 1`
    return (await db.all<{ id: string }>(first, [key]))[0]?.id ?? null
  }

  async function movedOne({ id, status, concurrency_key: key }: Job): Promise<void> {
    if (status === 'processing')
      await db.run('INSERT INTO key_holders VALUES ($1, $2) ON CONFLICT DO NOTHING', [key, id])
    if (isFinal(status)) await db.run('DELETE FROM key_holders WHERE key = $1 AND id = $2', [key, id])
    const next = (await holderOf(String(key))) ?? (await firstOf(String(key)))
    if (next === null) return
    await db.run(
      `UPDATE jobs SET held = (id <> $2) WHERE concurrency_key = $1 AND status = 'pending' AND held = (id = $2)`,
      [key, next],
    )
    await db.run('UPDATE jobs SET held = false WHERE id = $1 AND held', [next])
  }

  return {
    /** The job that holds the key, or null. */
    holderOf,

    /** To be told of every job that was inserted or moved. */
    async moved(jobs: readonly Job[]): Promise<void> {
      const keyed = jobs.filter(({ concurrency_key }) => concurrency_key !== null)
      if (keyed.length === 0) return
      // Who comes first is decided by one node at a time.
      await lockNames(
        db,
        keyed.map(({ concurrency_key }) => `turn ${concurrency_key}`),
      )
      for (const job of keyed) await movedOne(job)
    },
  }
}

export type Turns = ReturnType<typeof createTurns>
