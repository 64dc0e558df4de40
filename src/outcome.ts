// How a run ended, as a value, and the step that follows from it.
import { type BackoffPolicy, nextDelay } from './backoff.js'
import type { ErrorRecord, JobErrorCode } from './errors.js'
import type { Artifact, Job, JsonText, Step } from './job.js'

export interface Failure {
  code: JobErrorCode
  message: string
  stack?: string | undefined
  /** False where a further attempt cannot help. */
  retryable: boolean
  /** Milliseconds that the handler itself asked for, instead of the backoff. */
  retry_after_ms?: number | undefined
}

export type Outcome =
  | { kind: 'completed'; result: JsonText | null; artifacts: readonly Artifact[] }
  | ({ kind: 'failed' } & Failure)
  | { kind: 'cancelled' }
  /** The handler asked to be run again, after `delay` milliseconds. */
  | { kind: 'snoozed'; delay: number }
  | { kind: 'released'; detail: string }

/** What becomes of a job whose run ended so. `random` is a number in [0, 1) for the jitter. */
export function stepAfter(job: Job, outcome: Outcome, backoff: BackoffPolicy, random: number): Step {
  switch (outcome.kind) {
    case 'completed':
      return { verb: 'complete', result: outcome.result, artifacts: outcome.artifacts }
    case 'cancelled':
      return { verb: 'cancel' }
    case 'snoozed':
      return { verb: 'snooze', delay: outcome.delay }
    case 'released':
      return { verb: 'release', detail: outcome.detail }
    case 'failed': {
      const error = recordOf(outcome, job.attempt)
      if (!outcome.retryable || job.attempt >= job.max_attempts) return { verb: 'fail', error }
      return { verb: 'retry', error, delay: outcome.retry_after_ms ?? nextDelay(job.attempt, backoff, random) }
    }
  }
}

function recordOf({ code, message, stack }: Failure, attempt: number): ErrorRecord {
  return { code, message, attempt, ...(stack === undefined ? {} : { stack }) }
}
