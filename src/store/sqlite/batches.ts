// Batches: their counts by status, and the end of all their jobs, for which one job may wait.
import type Database from 'better-sqlite3'
import { JOB_STATUSES, type Job, type JobStatus } from '../../job.js'
import { tally } from '../filters.js'
import type { Batch, NewBatch } from '../store.js'

type BatchRow = { id: string; created_at: number; open_by: string | null; on_complete: string | null } & Record<
  JobStatus,
  number
>

/** Everything here runs inside a transaction that group commit began, but for `get`. */
export function createBatches(db: Database.Database) {
  const select = db.prepare<[string], BatchRow>(
    `SELECT id, created_at, open_by, on_complete, ${JOB_STATUSES} FROM batches WHERE id = ?`,
  )
  const begin = db.prepare(
    `INSERT INTO batches (id, created_at, open_by, on_complete) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET on_complete = coalesce(on_complete, excluded.on_complete) 
     WHERE open_by IS NOT NULL AND refuses = 0`,
  )
  const add = new Map(
    JOB_STATUSES.map((status) => [
      status,
      db.prepare(`UPDATE batches SET stored = stored + @n, ${status} = ${status} + @n WHERE id = @id`),
    ]),
  )
  const refuse = db.prepare('UPDATE batches SET refuses = 1 WHERE id = ? AND open_by IS NOT NULL')
  const close = db.prepare('UPDATE batches SET open_by = NULL WHERE id = ?')
  const orphans = db.prepare<[string], { id: string }>(
    'SELECT id FROM batches WHERE open_by IS NOT NULL AND open_by <> ?',
  )
  const removeEmpty = db.prepare(
    `DELETE FROM batches WHERE id = ? AND stored = 0
       AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = batches.on_complete)`,
  )
  const isEnded = db.prepare<[string], { on_complete: string }>(
    `SELECT on_complete FROM batches WHERE id = ? AND open_by IS NULL AND on_complete IS NOT NULL
       AND waiting + scheduled + pending + processing + retrying = 0`,
  )
  const members = db.prepare<[string, string, number], { id: string }>(
    'SELECT id FROM jobs WHERE batch_id = ? AND id > ? ORDER BY id LIMIT ?',
  )
  const waitedFor = db.prepare<[string], { id: string }>('SELECT id FROM batches WHERE on_complete = ?')

  return {
    get(id: string): Batch | null {
      const row = select.all(id)[0]
      if (row === undefined) return null
      const { created_at, open_by, on_complete, ...counts } = row
      const jobs = Object.fromEntries(JOB_STATUSES.map((status) => [status, counts[status]]))
      return { id, created_at, open: open_by !== null, on_complete, jobs: jobs as Batch['jobs'] }
    },

    /** Makes the batch, or goes on with one that is open. False: it takes no more jobs. */
    begin({ id, created_at, open_by, on_complete }: NewBatch): boolean {
      return begin.run(id, created_at, open_by, on_complete).changes === 1
    },

    added(jobs: readonly Job[]): void {
      for (const [key, n] of tally(jobs, ({ batch_id, status }) => batch_id && `${status} ${batch_id}`)) {
        const [status = '', id] = key.split(' ')
        add.get(status as JobStatus)?.run({ n, id })
      }
    },

    /** No job comes into it any more, though whoever has it open does not know yet. */
    refuse: (id: string): void => void refuse.run(id),

    close(id: string): void {
      close.run(id)
      removeEmpty.run(id)
    },

    /** Those that a node which is gone had left open. */
    orphans: (node: string): string[] => orphans.all(node).map(({ id }) => id),

    /** The job that waits for the end of the batch, where all others are final. */
    ended: (id: string): string | null => isEnded.all(id)[0]?.on_complete ?? null,

    /** Its jobs that come after the id `after`, in the order of their ids. */
    members: (id: string, after: string, limit: number): string[] => members.all(id, after, limit).map(({ id }) => id),

    /** The batch whose end this job waits for. */
    waitedFor: (id: string): string | null => waitedFor.all(id)[0]?.id ?? null,
  }
}

export type Batches = ReturnType<typeof createBatches>
