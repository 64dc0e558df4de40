// The state machine: each verb by a table, and what holds after any sequence of them.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  dueAt,
  isFinal,
  JOB_STATUSES,
  type Job,
  type JobStatus,
  type Rules,
  rankOf,
  type Step,
  TRANSITIONS,
  transition,
  withCancelRequest,
} from '../src/job.js'
import { newJob } from '../src/new-job.js'
import { type Outcome, stepAfter } from '../src/outcome.js'

const NOW = 1_750_000_000_000
const RULES: Rules = { priority_aging: 60_000, poison_after: 3 }
const BACKOFF = { base: 1_000, factor: 2, max: 300_000, jitter: 0.1 }
const ERROR = { code: 'handler_error', message: 'no luck', attempt: 1 } as const

const promote: Step = { verb: 'promote' }
const claim: Step = { verb: 'claim', node: 'n', slot: 1 }
const complete: Step = { verb: 'complete', result: '1', artifacts: [] }
const retry: Step = { verb: 'retry', error: ERROR, delay: 1_000 }
const fail: Step = { verb: 'fail', error: ERROR }
const release: Step = { verb: 'release', detail: 'shutdown' }
const rescue: Step = { verb: 'rescue' }
const cancel: Step = { verb: 'cancel' }
const rerun: Step = { verb: 'rerun' }
const unblock: Step = { verb: 'unblock', failed: null }
const unblockFailed: Step = { verb: 'unblock', failed: { id: 'd', status: 'cancelled' } }
const snooze: Step = { verb: 'snooze', delay: 2_000 }
const expire: Step = { verb: 'expire' }
const STEPS = [
  promote,
  unblock,
  unblockFailed,
  claim,
  complete,
  retry,
  fail,
  snooze,
  release,
  rescue,
  expire,
  cancel,
  rerun,
]

function submitted(more: Partial<Parameters<typeof newJob>[0]> = {}): Job {
  const defaults = { id: 'j', type: 'a', payload: '{}', priority: 3, run_at: null, max_attempts: 2, timeout_ms: 1_000 }
  return newJob({ ...defaults, ...more }, NOW, RULES)
}

/** The job after those steps, each of which must be allowed. */
function jobAfter(job: Job, ...steps: Step[]): Job {
  return steps.reduce((job, step) => {
    const next = transition(job, step, NOW + 10, RULES)
    if (next === null) throw new Error(`${step.verb} is not allowed for a ${job.status} job`)
    return next
  }, job)
}

/** One job of each status. */
const EXAMPLES: Record<JobStatus, Job> = {
  waiting: submitted({ depends_on: ['d'] }),
  scheduled: submitted({ run_at: NOW + 5_000 }),
  pending: submitted(),
  processing: jobAfter(submitted(), claim),
  retrying: jobAfter(submitted(), claim, retry),
  completed: jobAfter(submitted(), claim, complete),
  failed: jobAfter(submitted(), claim, fail),
  cancelled: jobAfter(submitted(), cancel),
}

describe('a new job', () => {
  test('is pending, or scheduled where its run_at lies ahead', () => {
    expect(submitted()).toMatchObject({ status: 'pending', reason: 'submitted', run_at: null, attempt: 0, run: 0 })
    const later = submitted({ run_at: NOW + 1 })
    expect(later).toMatchObject({ status: 'scheduled', reason: 'scheduled', run_at: NOW + 1 })
    expect(later.rank).toBe(NOW + 1 + 2 * RULES.priority_aging)
    for (const run_at of [NOW, NOW - 1]) {
      expect(submitted({ run_at })).toMatchObject({ status: 'pending', run_at: null, rank: submitted().rank })
    }
  })

  test('ranks by its time, a level of priority below the first counting as priority_aging', () => {
    expect([1, 2, 5].map((priority) => rankOf(NOW, priority, RULES) - NOW)).toEqual([0, 60_000, 240_000])
  })

  test('has a rank from which its due time can be told again', () => {
    const due = fc.integer({ min: 0, max: 2 * NOW })
    const priority_aging = fc.nat({ max: 30 * 86_400_000 })
    fc.assert(
      fc.property(due, fc.integer({ min: 1, max: 5 }), priority_aging, (due_at, priority, priority_aging) => {
        const rules = { ...RULES, priority_aging }
        expect(dueAt({ rank: rankOf(due_at, priority, rules), priority }, rules)).toBe(due_at)
      }),
    )
  })
})

describe('a transition', () => {
  for (const status of JOB_STATUSES) {
    for (const step of STEPS) {
      const allowed = TRANSITIONS[step.verb].from.includes(status)
      test(`${step.verb} of a ${status} job ${allowed ? 'leads where the table says' : 'is not allowed'}`, () => {
        const next = transition(EXAMPLES[status], step, NOW + 20, RULES)
        if (!allowed) expect(next).toBeNull()
        else expect(TRANSITIONS[step.verb].to).toContain(next?.status)
      })
    }
  }

  test('every target of the table is reached', () => {
    const reached = (verb: Step['verb'], to: JobStatus) => {
      const dying = { ...EXAMPLES.processing, interruptions: RULES.poison_after - 1 }
      const steps = STEPS.filter((step) => step.verb === verb)
      const jobs = [...Object.values(EXAMPLES), dying, submitted({ depends_on: ['d'], run_at: NOW + 1 })]
      return jobs.some((job) => steps.some((step) => transition(job, step, NOW, RULES)?.status === to))
    }
    for (const { verb } of STEPS)
      for (const to of TRANSITIONS[verb].to) expect([verb, to, reached(verb, to)]).toEqual([verb, to, true])
    const new_jobs = [submitted().status, submitted({ run_at: NOW + 1 }).status, EXAMPLES.waiting.status]
    expect(new_jobs.sort()).toEqual([...TRANSITIONS.submit.to].sort())
  })

  const CHARGES: [string, Job, Partial<Job>][] = [
    ['a claim charges an attempt and a run', EXAMPLES.processing, { attempt: 1, run: 1, interruptions: 0 }],
    ['a retry keeps the charge', EXAMPLES.retrying, { attempt: 1, run: 1, run_at: NOW + 1_010, error: ERROR }],
    ['a retry ranks by its due time', EXAMPLES.retrying, { rank: NOW + 1_010 + 120_000 }],
    ['a promotion charges nothing', jobAfter(EXAMPLES.retrying, promote), { attempt: 1, run: 1, run_at: null }],
    ['a completion is whole', EXAMPLES.completed, { progress: 100, result: '1', error: null, finished_at: NOW + 10 }],
    ['a failure keeps its error', EXAMPLES.failed, { error: ERROR, reason: 'handler_error', finished_at: NOW + 10 }],
    [
      'a release gives the attempt back',
      jobAfter(EXAMPLES.processing, release),
      { attempt: 0, run: 1, interruptions: 0 },
    ],
    [
      'a release keeps the rank',
      jobAfter(EXAMPLES.processing, release),
      { rank: submitted().rank, node: null, slot: null },
    ],
    [
      'a rescue counts an interruption',
      jobAfter(EXAMPLES.processing, rescue),
      { attempt: 0, run: 1, interruptions: 1 },
    ],
    ['a rescue keeps the rank', jobAfter(EXAMPLES.processing, rescue), { rank: submitted().rank, started_at: null }],
    ['a rerun begins anew', jobAfter(EXAMPLES.failed, rerun), { attempt: 0, run: 1, error: null, finished_at: null }],
    ['a rerun ranks as a new job', jobAfter(EXAMPLES.failed, rerun), { rank: submitted().rank + 10, interruptions: 0 }],
  ]
  for (const [name, job, expected] of CHARGES) test(name, () => expect(job).toMatchObject(expected))

  test('a success after a failed attempt clears the error', () => {
    expect(jobAfter(EXAMPLES.retrying, promote, claim)).toMatchObject({ attempt: 2, error: ERROR })
    expect(jobAfter(EXAMPLES.retrying, promote, claim, complete)).toMatchObject({ attempt: 2, error: null })
  })

  test('a rescue at poison_after fails the job, whose attempt stays charged', () => {
    const twice = jobAfter(submitted(), claim, rescue, claim, rescue, claim)
    expect(twice).toMatchObject({ attempt: 1, run: 3, interruptions: 2 })
    const poisoned = jobAfter(twice, rescue)
    expect(poisoned).toMatchObject({ status: 'failed', reason: 'poison', interruptions: 3, attempt: 1 })
    expect(poisoned.error).toMatchObject({ code: 'poison', attempt: 1, message: expect.stringContaining('3 times') })
    expect(transition(twice, release, NOW, RULES)).toMatchObject({ status: 'pending', interruptions: 2 })
    expect(transition(twice, rescue, NOW, { ...RULES, poison_after: 4 })).toMatchObject({ status: 'pending' })
  })
})

describe('a cancel request', () => {
  const asked = withCancelRequest(EXAMPLES.processing, 'not wanted any more', NOW + 5)

  test('leaves the job running, and is kept as it was said first', () => {
    expect(asked).toMatchObject({ status: 'processing', cancel_requested_at: NOW + 5, reason: 'cancel_requested' })
    expect(withCancelRequest(asked, 'again', NOW + 6)).toBe(asked)
  })

  for (const step of STEPS) {
    const ends = TRANSITIONS[step.verb].from.includes('processing')
    test(`${ends ? 'beats' : 'does not allow'} ${step.verb}`, () => {
      const next = transition(asked, step, NOW + 20, RULES)
      if (!ends) return expect(next).toBeNull()
      expect(next).toMatchObject({ status: 'cancelled', reason: 'cancelled', reason_detail: 'not wanted any more' })
      expect(next).toMatchObject({ finished_at: NOW + 20, result: null, error: null, interruptions: 0 })
    })
  }

  test('beats poison', () => {
    expect(jobAfter({ ...asked, interruptions: 2 }, rescue)).toMatchObject({ status: 'cancelled', interruptions: 2 })
  })

  test('is forgotten by a rerun', () => {
    expect(jobAfter(asked, complete, rerun, claim, complete)).toMatchObject({ status: 'completed', run: 2 })
  })
})

describe('a delay', () => {
  test.each([
    [1_000, 1_000],
    [0.4, 0],
    [1_234.56, 1_235],
    [-5, 0],
    [Number.NaN, 0],
    [1e300, 315_360_000_000],
    [Number.POSITIVE_INFINITY, 315_360_000_000],
  ])('of %d ms is waited as %d', (delay, waited) => {
    const next = transition(EXAMPLES.processing, { verb: 'retry', error: ERROR, delay }, NOW, RULES)
    expect(next?.run_at).toBe(NOW + waited)
    expect(next?.reason_detail).toContain('next one at 20')
  })
})

describe('any sequence of steps', () => {
  type Move = Step | { outcome: Outcome } | { ask: 'cancel' }
  const outcome: fc.Arbitrary<Outcome> = fc.oneof(
    fc.record({
      kind: fc.constant('completed' as const),
      result: fc.constantFrom('1', null),
      artifacts: fc.constant([]),
    }),
    fc.record({
      kind: fc.constant('failed' as const),
      code: fc.constantFrom('handler_error' as const, 'timeout' as const),
      message: fc.constant('no luck'),
      retryable: fc.boolean(),
      retry_after_ms: fc.option(fc.double(), { nil: undefined }),
    }),
    fc.constant({ kind: 'released' as const, detail: 'shutdown' }),
    fc.constant({ kind: 'cancelled' as const }),
  )
  const move: fc.Arbitrary<Move> = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(promote, claim, rescue, cancel, rerun, claim, claim, promote, rerun) },
    { weight: 4, arbitrary: fc.record({ outcome }) },
    { weight: 1, arbitrary: fc.constant({ ask: 'cancel' as const }) },
  )

  function stepOf(job: Job, move: Move): Step | null {
    if ('ask' in move) return null
    return 'outcome' in move ? stepAfter(job, move.outcome, BACKOFF, 0.5) : move
  }

  function check(before: Job, step: Step, next: Job | null): void {
    const allowed = TRANSITIONS[step.verb].from.includes(before.status)
    expect(next !== null, `${step.verb} of a ${before.status} job`).toBe(allowed)
    if (next === null) return
    const overruled = before.status === 'processing' && before.cancel_requested_at !== null
    expect(overruled ? ['cancelled'] : TRANSITIONS[step.verb].to).toContain(next.status)
    expect(next.run - before.run).toBe(step.verb === 'claim' ? 1 : 0)
    expect(next.attempt).toBeGreaterThanOrEqual(0)
    expect(next.attempt).toBeLessThanOrEqual(next.max_attempts)
    expect(next.attempt).toBeLessThanOrEqual(next.run)
    expect(next.interruptions).toBeLessThanOrEqual(RULES.poison_after)
    expect(next.finished_at !== null).toBe(isFinal(next.status))
    expect(next.run_at !== null).toBe(next.status === 'scheduled' || next.status === 'retrying')
    if (next.status === 'processing') expect(next).toMatchObject({ node: 'n', slot: 1, started_at: next.updated_at })
    if (next.status === 'failed') expect(next.error).not.toBeNull()
    if (next.status === 'completed') expect(next).toMatchObject({ progress: 100, error: null })
    else expect(next.result).toBeNull()
    for (const [name, value] of Object.entries(next)) {
      if (typeof value === 'number') expect(Number.isSafeInteger(value), `${name} is ${value}`).toBe(true)
    }
    for (const name of ['id', 'type', 'priority', 'max_attempts', 'timeout_ms', 'created_at'] as const) {
      expect(next[name]).toBe(before[name])
    }
  }

  test('keeps what holds of every job, and leaves its input as it is', () => {
    const reached = new Set<string>()
    const max_attempts = fc.integer({ min: 1, max: 4 })
    fc.assert(
      fc.property(max_attempts, fc.array(move, { maxLength: 60, size: 'max' }), (max_attempts, moves) => {
        let job: Job = frozen(submitted({ max_attempts, run_at: NOW + 5 }))
        let now = NOW
        for (const move of moves) {
          now += 1_000
          const step = stepOf(job, move)
          if (step === null) {
            if (job.status === 'processing') job = frozen(withCancelRequest(job, 'not wanted', now))
            continue
          }
          const next = transition(job, frozen(step), now, RULES)
          check(job, step, next)
          job = frozen(next ?? job)
          reached.add(job.status)
        }
      }),
      { numRuns: 300 },
    )
    // Otherwise nothing was seen of the rest.
    expect([...reached].sort()).toEqual(JOB_STATUSES.filter((status) => status !== 'waiting').sort())
  })
})

/** In strict mode a write to it throws. */
function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) frozen(part)
  return Object.freeze(value)
}
