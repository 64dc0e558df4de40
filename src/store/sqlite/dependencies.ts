// Dependencies: which jobs wait for which, and what becomes of them when those are final.
import type Database from 'better-sqlite3'
import { ServiceError } from '../../errors.js'
import { isFinal, type Job, type JobStatus } from '../../job.js'

/** Everything here runs inside a transaction that group commit began. */
export function createDependencies(db: Database.Database) {
  const statusOf = db.prepare<[string], { status: JobStatus }>('SELECT status FROM jobs WHERE id = ?')
  const insert = db.prepare('INSERT OR IGNORE INTO dependencies VALUES (?, ?, ?)')
  const dependents = db.prepare<[string, number], { id: string }>(
    'SELECT id FROM dependencies WHERE on_id = ? AND open = 1 LIMIT ?',
  )
  const settle = db.prepare('UPDATE dependencies SET open = 0 WHERE id = ? AND on_id = ?')
  const open = db.prepare<[string, number], { on_id: string }>(
    'SELECT on_id FROM dependencies WHERE id = ? AND open = 1 LIMIT ?',
  )
  const needed = db.prepare<[string], { id: string }>('SELECT id FROM dependencies WHERE on_id = ? LIMIT 1')
  const leave = db.prepare('INSERT OR REPLACE INTO unblocking VALUES (?, ?)')
  const left = db.prepare<[number], { id: string; status: JobStatus }>(
    'SELECT on_id AS id, status FROM unblocking LIMIT ?',
  )
  const done = db.prepare('DELETE FROM unblocking WHERE on_id = ?')

  return {
    /**
     * What is wrong with what those of these jobs that are new depend on, or null. `listed`: they came as a list, into
     * which the pointers lead.
     */
    check(jobs: readonly Job[], isNew: (i: number) => boolean, listed: boolean): ServiceError | null {
      const own = new Set(jobs.map(({ id }) => id))
      const errors = jobs.flatMap(({ depends_on }, i) =>
        depends_on.flatMap((id, k) => {
          if (!isNew(i)) return []
          if (own.has(id) || statusOf.all(id).length > 0) return []
          return [{ pointer: `${listed ? `/jobs/${i}` : ''}/depends_on/${k}`, detail: `there is no job ${id}` }]
        }),
      )
      const [first] = errors
      return first === undefined
        ? null
        : new ServiceError('unknown_dependency', `${first.pointer}: ${first.detail}`, { errors })
    },

    /** Stores what a waiting job waits for. Answers those of them that are final already. */
    add({ id, depends_on }: Job): Pick<Job, 'id' | 'status'>[] {
      return depends_on.flatMap((on) => {
        const status = statusOf.all(on)[0]?.status
        if (status === undefined) return []
        insert.run(id, on, isFinal(status) ? 0 : 1)
        return isFinal(status) ? [{ id: on, status }] : []
      })
    },

    /** Whether a job that is to wait would be pending at once, as all that it waits for has ended. */
    isReady({ status, depends_on, on_dependency_failure, run_at }: Job): boolean {
      if (status !== 'waiting' || depends_on.length === 0 || run_at !== null) return false
      return depends_on.every((id) => {
        const on = statusOf.all(id)[0]?.status
        return on === 'completed' || (on !== undefined && isFinal(on) && on_dependency_failure === 'run')
      })
    },

    /** A job runs again: what it depended on, as far as it is there, is needed once more. */
    needAgain({ id, depends_on }: Job): void {
      for (const on of depends_on) if (statusOf.all(on).length > 0) insert.run(id, on, 0)
    },

    /** Some of the jobs that still wait for this one. */
    dependents: (on: string, limit: number): string[] => dependents.all(on, limit).map(({ id }) => id),
    settle: (id: string, on: string): void => void settle.run(id, on),
    /** What it still waits for, `limit` at most. */
    open: (id: string, limit: number): string[] => open.all(id, limit).map(({ on_id }) => on_id),
    /** Whether a job that is not final depends on this one. */
    isNeeded: (on: string): boolean => needed.all(on).length > 0,

    /** For upkeep to go on with: this job ended so, and not all that wait for it have been told. */
    leave: ({ id, status }: Pick<Job, 'id' | 'status'>): void => void leave.run(id, status),
    left: (limit: number) => left.all(limit),
    done: (on: string): void => void done.run(on),
  }
}

export type Dependencies = ReturnType<typeof createDependencies>
