// Dependencies: which jobs wait for which, and what becomes of them when those are final.
import { ServiceError } from '../../errors.js'
import { isFinal, type Job, type JobStatus } from '../../job.js'
import type { Queries } from './connection.js'

type Ended = Pick<Job, 'id' | 'status'>

/** Everything here runs inside a transaction that group commit began. */
export function createDependencies(db: Queries) {
  /** None of them ends before this transaction does: then it finds the jobs that wait for it by now. */
  async function statuses(ids: readonly string[]): Promise<Map<string, JobStatus>> {
    if (ids.length === 0) return new Map()
    const text = 'SELECT id, status FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR SHARE'
    return new Map((await db.all<Ended>(text, [ids])).map(({ id, status }) => [id, status]))
  }

  const insert = (id: string, on: readonly string[], open: readonly boolean[]) =>
    db.run(`INSERT INTO dependencies SELECT $1, * FROM unnest($2::text[], $3::boolean[]) ON CONFLICT DO NOTHING`, [
      id,
      on,
      open,
    ])

  return {
    /**
     * What is wrong with what those of these jobs that are new depend on, or null. `listed`: they came as a list, into
     * which the pointers lead.
     */
    async check(jobs: readonly Job[], isNew: (i: number) => boolean, listed: boolean): Promise<ServiceError | null> {
      const known = await statuses(jobs.flatMap(({ depends_on }, i) => (isNew(i) ? depends_on : [])))
      const own = new Set(jobs.map(({ id }) => id))
      const errors = jobs.flatMap(({ depends_on }, i) =>
        depends_on.flatMap((id, k) => {
          if (!isNew(i) || own.has(id) || known.has(id)) return []
          return [{ pointer: `${listed ? `/jobs/${i}` : ''}/depends_on/${k}`, detail: `there is no job ${id}` }]
        }),
      )
      const [first] = errors
      return first === undefined
        ? null
        : new ServiceError('unknown_dependency', `${first.pointer}: ${first.detail}`, { errors })
    },

    /** Stores what a waiting job waits for. Answers those of them that are final already. */
    async add({ id, depends_on }: Job): Promise<Ended[]> {
      const known = [...(await statuses(depends_on))].map(([on, status]) => ({ id: on, status }))
      await insert(
        id,
        known.map(({ id }) => id),
        known.map(({ status }) => !isFinal(status)),
      )
      const ended = known.filter(({ status }) => isFinal(status))
      return depends_on.flatMap((on) => ended.filter((one) => one.id === on))
    },

    /** Those of jobs that are to wait which would be pending at once, as all that they wait for has ended. */
    async ready<J extends Job>(jobs: readonly J[]): Promise<J[]> {
      const waiting = jobs.filter(({ status, depends_on, run_at }) => {
        return status === 'waiting' && depends_on.length > 0 && run_at === null
      })
      const known = await statuses(waiting.flatMap(({ depends_on }) => depends_on))
      return waiting.filter(({ depends_on, on_dependency_failure }) =>
        depends_on.every((id) => {
          const on = known.get(id)
          return on === 'completed' || (on !== undefined && isFinal(on) && on_dependency_failure === 'run')
        }),
      )
    },

    /** A job runs again: what it depended on, as far as it is there, is needed once more. */
    async needAgain({ id, depends_on }: Job): Promise<void> {
      const known = [...(await statuses(depends_on)).keys()]
      if (known.length > 0)
        await insert(
          id,
          known,
          known.map(() => false),
        )
    },

    /** They are final: nothing that they depended on is needed for them. */
    over: (ids: readonly string[]) => db.run('DELETE FROM dependencies WHERE id = ANY($1::text[])', [ids]),

    /** Those of `ids` for which some job still waits. */
    async awaited(ids: readonly string[]): Promise<Set<string>> {
      const text = 'SELECT DISTINCT on_id AS id FROM dependencies WHERE on_id = ANY($1::text[]) AND open'
      return new Set((await db.all<{ id: string }>(text, [ids])).map(({ id }) => id))
    },
    /** Some of the jobs that still wait for this one. */
    async dependents(on: string, limit: number): Promise<string[]> {
      const text = 'SELECT id FROM dependencies WHERE on_id = $1 AND open ORDER BY id LIMIT $2'
      return (await db.all<{ id: string }>(text, [on, limit])).map(({ id }) => id)
    },
    settle: (id: string, on: string) =>
      db.run('UPDATE dependencies SET open = false WHERE id = $1 AND on_id = $2', [id, on]),
    /** What it still waits for, `limit` at most. */
    async open(id: string, limit: number): Promise<string[]> {
      const text = 'SELECT on_id FROM dependencies WHERE id = $1 AND open ORDER BY on_id LIMIT $2'
      return (await db.all<{ on_id: string }>(text, [id, limit])).map(({ on_id }) => on_id)
    },
    /** Those of `ids` on which a job depends that is not final. */
    async needed(ids: readonly string[]): Promise<Set<string>> {
      if (ids.length === 0) return new Set()
      const text = 'SELECT DISTINCT on_id AS id FROM dependencies WHERE on_id = ANY($1::text[])'
      return new Set((await db.all<{ id: string }>(text, [ids])).map(({ id }) => id))
    },

    /** For upkeep to go on with: this job ended so, and not all that wait for it have been told. */
    leave: ({ id, status }: Ended) =>
      db.run('INSERT INTO unblocking VALUES ($1, $2) ON CONFLICT (on_id) DO UPDATE SET status = excluded.status', [
        id,
        status,
      ]),
    left: (limit: number) =>
      db.all<Ended>('SELECT on_id AS id, status FROM unblocking ORDER BY on_id LIMIT $1 FOR UPDATE SKIP LOCKED', [
        limit,
      ]),
    done: (on: string) => db.run('DELETE FROM unblocking WHERE on_id = $1', [on]),
  }
}

export type Dependencies = ReturnType<typeof createDependencies>
