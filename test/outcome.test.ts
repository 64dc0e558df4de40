// What follows from how a run ended.
import { describe, expect, test } from 'vitest'
import type { Job } from '../src/job.js'
import { newJob } from '../src/new-job.js'
import { type Outcome, stepAfter } from '../src/outcome.js'

const BACKOFF = { base: 1_000, factor: 2, max: 300_000, jitter: 0 }
const failed: Outcome & { kind: 'failed' } = {
  kind: 'failed',
  code: 'timeout',
  message: 'ran for 5 s',
  stack: 'Error: ran for 5 s\n    at run',
  retryable: true,
}

function atAttempt(attempt: number, max_attempts = 3): Job {
  const submission = { id: 'j', type: 'a', payload: '{}', priority: 3, run_at: null, max_attempts, timeout_ms: 5_000 }
  return { ...newJob(submission, 0, { priority_aging: 0, poison_after: 3 }), status: 'processing', attempt, run: 9 }
}

const stepFor = (attempt: number, outcome: Outcome) => stepAfter(atAttempt(attempt), outcome, BACKOFF, 0.5)

describe('the step after a run', () => {
  test('that returned is complete, with its result', () => {
    expect(stepFor(1, { kind: 'completed', result: '{"n":1}', artifacts: [] })).toEqual({
      verb: 'complete',
      result: '{"n":1}',
      artifacts: [],
    })
  })

  test('that was cancelled is cancel', () => {
    expect(stepFor(3, { kind: 'cancelled' })).toEqual({ verb: 'cancel' })
  })

  test('that was released is release, with the reason', () => {
    expect(stepFor(3, { kind: 'released', detail: 'shutdown' })).toEqual({ verb: 'release', detail: 'shutdown' })
  })

  test('that failed is retry while attempts are left, after a growing delay', () => {
    const { kind, retryable, ...error } = failed
    expect(stepFor(1, failed)).toEqual({ verb: 'retry', error: { ...error, attempt: 1 }, delay: 1_000 })
    expect(stepFor(2, failed)).toEqual({ verb: 'retry', error: { ...error, attempt: 2 }, delay: 2_000 })
    expect(stepFor(3, failed)).toEqual({ verb: 'fail', error: { ...error, attempt: 3 } })
  })

  test('of a job with one attempt is fail', () => {
    expect(stepAfter(atAttempt(1, 1), failed, BACKOFF, 0.5)).toMatchObject({ verb: 'fail' })
  })

  test('that failed for good is fail, however many attempts are left', () => {
    expect(stepFor(1, { ...failed, retryable: false, retry_after_ms: 5 })).toMatchObject({ verb: 'fail' })
  })

  test('that asked for a delay itself is retry after that, 0 included', () => {
    expect(stepFor(2, { ...failed, retry_after_ms: 42 })).toMatchObject({ verb: 'retry', delay: 42 })
    expect(stepFor(2, { ...failed, retry_after_ms: 0 })).toMatchObject({ verb: 'retry', delay: 0 })
    expect(stepFor(3, { ...failed, retry_after_ms: 42 })).toMatchObject({ verb: 'fail' })
  })

  test('that failed without a stack stores none', () => {
    expect(stepFor(1, { ...failed, stack: undefined })).toStrictEqual({
      verb: 'retry',
      delay: 1_000,
      error: { code: 'timeout', message: 'ran for 5 s', attempt: 1 },
    })
  })
})
