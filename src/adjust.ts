// PATCH: another priority or another time for a job that neither runs nor is final.
import { dueAt, isFinal, type Job, type Rules, rankOf } from './job.js'

export interface Adjustment {
  /** 1 (high) to 5 (low). */
  priority?: number | undefined
  /** Milliseconds since 1970; one that does not lie ahead means now. */
  run_at?: number | undefined
}

/**
 * The job with the change, and its place among the others; null where it runs or is final, and where the time is too late
 * for its `start_by`. Only a time can move it: what is pending to `scheduled`, what is scheduled or retrying to `pending`.
 * What waits for other jobs goes on to wait.
 */
export function withAdjustment<J extends Job>(job: J, change: Adjustment, now: number, rules: Rules): J | null {
  if (job.status === 'processing' || isFinal(job.status) || isTooLate(job, change)) return null
  const priority = change.priority ?? job.priority
  const reason = { reason: 'adjusted', reason_detail: 'its priority or run_at was changed on request' }
  const changed = { ...job, ...reason, priority, updated_at: now }
  // Without another time it keeps its place among those of its new priority.
  if (change.run_at === undefined) return { ...changed, rank: rankOf(dueAt(job, rules), priority, rules) }
  const run_at = change.run_at > now ? change.run_at : null
  return { ...changed, run_at, rank: rankOf(run_at ?? now, priority, rules), status: statusWith(run_at, job) }
}

/** It would expire without having had a chance to run. */
export function isTooLate({ start_by }: Pick<Job, 'start_by'>, { run_at = 0 }: Adjustment): boolean {
  return start_by !== null && run_at >= start_by
}

function statusWith(run_at: number | null, { status }: Job): Job['status'] {
  if (status === 'waiting') return 'waiting'
  if (run_at === null) return 'pending'
  return status === 'retrying' ? 'retrying' : 'scheduled'
}
