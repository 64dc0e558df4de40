// Batches: their counts by status, and the end of all their jobs, for which one job may wait.
import { JOB_STATUSES, type Job, type JobStatus } from '../../job.js'
import { tally } from '../filters.js'
import type { Batch, NewBatch } from '../store.js'
import type { Queries } from './connection.js'

type BatchRow = { id: string; created_at: number; open_by: string | null; on_complete: string | null } & Record<
  JobStatus,
  number
>
type Member = Pick<Job, 'batch_id' | 'status'>

/** Everything here runs inside a transaction that group commit began, but for `get`. */
export function createBatches(db: Queries) {
  const idsOf = (rows: { id: string }[]) => rows.map(({ id }) => id)

  /** What this transaction has not written yet. */
  const changes = new Map<string, { stored: number; statuses: Map<string, number> }>()

  /** `counts` by `keyOf`. */
  function note(counts: ReadonlyMap<string, number>, stored: number): void {
    for (const [key, n] of counts) {
      const [status = '', ...id] = key.split(' ')
      const batch = id.join(' ')
      const known = changes.get(batch) ?? { stored: 0, statuses: new Map<string, number>() }
      known.stored += stored * n
      known.statuses.set(status, (known.statuses.get(status) ?? 0) + n)
      changes.set(batch, known)
    }
  }

  /** In the order of their ids, so that no two nodes wait for each other's. */
  async function flush(): Promise<void> {
    for (const id of [...changes.keys()].sort()) {
      const { stored, statuses } = changes.get(id) ?? { stored: 0, statuses: new Map() }
      changes.delete(id)
      const sums = [...statuses.keys()].map((status, i) => `${status} = ${status} + $${i + 3}`)
      await db.run(`UPDATE batches SET stored = stored + $2, ${sums.join(', ')} WHERE id = $1`, [
        id,
        stored,
        ...statuses.values(),
      ])
    }
  }

  const keyOf = ({ batch_id, status }: Member) => batch_id && `${status} ${batch_id}`

  return {
    async get(id: string): Promise<Batch | null> {
      const text = `SELECT id, created_at, open_by, on_complete, ${JOB_STATUSES} FROM batches WHERE id = $1`
      const row = (await db.all<BatchRow>(text, [id]))[0]
      if (row === undefined) return null
      const { created_at, open_by, on_complete, ...counts } = row
      const jobs = Object.fromEntries(JOB_STATUSES.map((status) => [status, counts[status]]))
      return { id, created_at, open: open_by !== null, on_complete, jobs: jobs as Batch['jobs'] }
    },

    /** Makes the batch, or goes on with one that is open. False: it takes no more jobs. */
    async begin({ id, created_at, open_by, on_complete }: NewBatch): Promise<boolean> {
      const begun = await db.run(
        `INSERT INTO batches AS b (id, created_at, open_by, on_complete) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET on_complete = coalesce(b.on_complete, excluded.on_complete)
         WHERE b.open_by IS NOT NULL AND NOT b.refuses`,
        [id, created_at, open_by, on_complete],
      )
      return begun === 1
    },

    /**
     * Writes the counts: after all locks of jobs that the transaction takes, as whoever ends a job locks its row first, and
     * then that of its batch.
     */
    flush,
    forget: () => changes.clear(),

    added: (jobs: readonly Job[]) => note(tally(jobs, keyOf), 1),

    moved(moves: readonly { before: Member; after: Member }[]): void {
      const sums = new Map<string, number>()
      for (const { before, after } of moves) {
        if (after.batch_id === null || before.status === after.status) continue
        for (const [member, n] of [
          [before, -1],
          [after, 1],
        ] as const) {
          const key = String(keyOf(member))
          sums.set(key, (sums.get(key) ?? 0) + n)
        }
      }
      note(sums, 0)
    },

    /** Jobs were deleted: a batch goes with its last one. */
    async removed(jobs: readonly Pick<Job, 'id' | 'batch_id'>[]): Promise<void> {
      await flush()
      const counts = tally(jobs, ({ batch_id }) => batch_id)
      for (const id of [...counts.keys()].sort()) {
        await db.run('UPDATE batches SET stored = stored - $2 WHERE id = $1', [id, counts.get(id)])
        await db.run('DELETE FROM batches WHERE id = $1 AND stored = 0 AND open_by IS NULL', [id])
      }
      const ids = jobs.map(({ id }) => id)
      await db.run('DELETE FROM batches WHERE on_complete = ANY($1::text[]) AND stored = 0 AND open_by IS NULL', [ids])
    },

    /** No job comes into it any more, though whoever has it open does not know yet. */
    refuse: (id: string) => db.run('UPDATE batches SET refuses = true WHERE id = $1 AND open_by IS NOT NULL', [id]),

    async close(id: string): Promise<void> {
      await flush()
      await db.run('UPDATE batches SET open_by = NULL WHERE id = $1', [id])
      await db.run(
        `DELETE FROM batches WHERE id = $1 AND stored = 0
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = batches.on_complete)`,
        [id],
      )
    },

    /** Those that a node which is gone had left open. */
    async orphans(): Promise<string[]> {
      return idsOf(
        await db.all(
          `SELECT id FROM batches WHERE open_by IS NOT NULL AND open_by NOT IN (
             SELECT id FROM nodes WHERE heartbeat_at + lease > clock_timestamp()) ORDER BY id FOR UPDATE SKIP LOCKED`,
        ),
      )
    },

    /** The job that waits for the end of the batch, where all others are final. */
    async ended(id: string): Promise<string | null> {
      const text = `SELECT on_complete FROM batches WHERE id = $1 AND open_by IS NULL AND on_complete IS NOT NULL
        AND waiting + scheduled + pending + processing + retrying = 0`
      return (await db.all<{ on_complete: string }>(text, [id]))[0]?.on_complete ?? null
    },

    /** Its jobs that come after the id `after`, in the order of their ids. */
    async members(id: string, after: string, limit: number): Promise<string[]> {
      return idsOf(
        await db.all('SELECT id FROM jobs WHERE batch_id = $1 AND id > $2 ORDER BY id LIMIT $3', [id, after, limit]),
      )
    },

    /** The batch whose end this job waits for. */
    async waitedFor(id: string): Promise<string | null> {
      return idsOf(await db.all('SELECT id FROM batches WHERE on_complete = $1', [id]))[0] ?? null
    },
  }
}

export type Batches = ReturnType<typeof createBatches>
