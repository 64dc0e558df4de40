// Moves many jobs at once: those that fit a filter, a bounded number of them a call.
import { ServiceError } from './errors.js'
import type { Job } from './job.js'
import type { JobTypes } from './job-types.js'
import type { JobFilter, Store } from './store/store.js'
import type { JobTracker } from './tracker.js'

export interface Bulk {
  /** Of jobs with ids below `before`, where it is given. `next`: the id to go on below; null: all were reached. */
  cancel(filter: JobFilter, before: string | null, reason: string): Promise<Cancelled>
  rerun(filter: JobFilter, before: string | null): Promise<Rerun>
}

interface Cancelled {
  cancelled: number
  asked_to_stop: number
  next: string | null
}

interface Rerun {
  rerun: number
  /** They have a type that is not there, or disabled. */
  without_type: number
  next: string | null
}

export interface BulkOptions {
  store: Store
  tracker: JobTracker
  types: JobTypes
}

/** Jobs that one call moves at the most. */
const MOST = 1_000
/** They share a transaction. */
const PIECE = 100

export function createBulk({ store, tracker, types }: BulkOptions): Bulk {
  return {
    async cancel(filter, before, reason) {
      const done = { cancelled: 0, requested: 0, final: 0 }
      const next = await each(filter, before, async ({ id }) => {
        const answer = await tracker.cancel(id, reason)
        if (answer !== null) done[answer.answer] += 1
      })
      return { cancelled: done.cancelled, asked_to_stop: done.requested, next }
    },

    async rerun(filter, before) {
      const done = { rerun: 0, without_type: 0 }
      const next = await each(filter, before, async ({ id, type }) => {
        if (types.get(type)?.disabled !== null) done.without_type += 1
        else if ((await rerunUnlessMoved(tracker, id)) !== null) done.rerun += 1
      })
      return { ...done, next }
    },
  }

  /** Does `move` to the jobs that fit, newest first. Those that fit again, after a rerun, do not come twice. */
  async function each(
    filter: JobFilter,
    from: string | null,
    move: (job: Job) => Promise<void>,
  ): Promise<string | null> {
    let before = from
    for (let seen = 0; seen < MOST; ) {
      const { jobs, next } = await store.list(filter, PIECE, before)
      await Promise.all(jobs.map(move))
      if (next === null) return null
      seen += jobs.length
      before = next
    }
    return (await store.list(filter, 1, before)).jobs.length > 0 ? before : null
  }
}

/** Somebody else may have run it again, or deleted it, since it was listed: null. */
export function rerunUnlessMoved(tracker: JobTracker, id: string): Promise<Job | null> {
  return tracker.rerun(id).catch((error: unknown) => {
    if (error instanceof ServiceError && error.code === 'job_not_final') return null
    throw error
  })
}
