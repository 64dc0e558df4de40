// Random calls, held against a model: the jobs in a Map, moved by the pure functions of job.ts.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isFinal, type Job, type JobWithPayload, type Step, transition, withCancelRequest } from '../../../src/job.js'
import { aJob, anError, expectCountsToFit, NO_BOUNDS, RULES, type Stage, T0 } from './stage.js'

const TYPES = ['a', 'b', 'c']
const ENDS: Step[] = [
  { verb: 'complete', result: '1', artifacts: [] },
  { verb: 'retry', error: anError(), delay: 30 },
  { verb: 'fail', error: anError() },
  { verb: 'release', detail: 'shutdown' },
  { verb: 'cancel' },
]

const which = fc.nat(1_000)
const call = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      type: fc.constantFrom(...TYPES),
      priority: fc.integer({ min: 1, max: 5 }),
      delay: fc.constantFrom(0, 0, 20),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('claim' as const),
      types: fc.subarray(TYPES),
      slots: fc.integer({ min: 0, max: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      which,
      step: fc.constantFrom(...ENDS),
      late: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rerun' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
)

export function walking(stage: () => Promise<Stage>): void {
  test('leaves the jobs that the state machine says, and counts that fit', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 20, maxLength: 60, size: 'max' }), async (calls) => {
        const the = await stage()
        const model = new Map<string, JobWithPayload>()
        const pick = (n: number) => [...model.values()][n % Math.max(1, model.size)]
        const move = (job: JobWithPayload, step: Step, now: number): JobWithPayload | null => {
          const after = transition(job, step, now, RULES)
          if (after !== null) model.set(job.id, after)
          return after
        }
        const promote = (now: number) => {
          for (const job of model.values())
            if (job.run_at !== null && job.run_at <= now) move(job, { verb: 'promote' }, now)
        }
        let now = T0
        for (const next of calls) {
          now += 10
          if (next.do === 'submit') {
            const job = aJob(
              { type: next.type, priority: next.priority, run_at: now + next.delay, max_attempts: 99 },
              now,
            )
            model.set(job.id, job)
            await the.store.submit([job], NO_BOUNDS)
          } else if (next.do === 'claim') {
            promote(now)
            const ready = [...model.values()].filter(
              ({ type, status }) => next.types.includes(type) && status === 'pending',
            )
            ready.sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1))
            const slots = Array.from({ length: next.slots }, (_, i) => i + 1)
            const best = ready.slice(0, next.slots)
            const expected = best.map((job, i) => move(job, { verb: 'claim', node: the.node, slot: i + 1 }, now))
            expect(await the.claim(slots, { types: next.types, at: now })).toEqual(expected)
          } else if (next.do === 'tick') {
            for (const job of model.values()) {
              if (job.status === 'processing' && job.node !== the.node) move(job, { verb: 'rescue' }, now)
            }
            promote(now)
            await the.store.tick({ node: the.node, now })
          } else if (next.do === 'crash') {
            await the.crash()
          } else {
            const job = pick(next.which)
            if (job === undefined) continue
            if (next.do === 'settle') {
              const runs = job.status === 'processing' && next.late === 0
              const expected = runs ? move(job, next.step, now) : null
              expect(await the.end({ ...job, run: job.run - next.late }, next.step, now)).toEqual(bare(expected))
            } else if (next.do === 'rerun') {
              const after = isFinal(job.status) ? move(job, { verb: 'rerun' }, now) : null
              expect(await the.store.rerun(job.id, now)).toEqual({ changed: after !== null, job: bare(after ?? job) })
            } else {
              if (job.status === 'processing') model.set(job.id, withCancelRequest(job, 'not wanted', now))
              else if (!isFinal(job.status)) move(job, { verb: 'cancel', detail: 'not wanted' }, now)
              expect((await the.store.cancel(job.id, 'not wanted', now))?.job).toEqual(bare(model.get(job.id) ?? null))
            }
          }
        }
        for (const job of model.values()) expect(await the.store.get(job.id)).toEqual(job)
        expect((await the.store.list({}, 1_000, null)).jobs).toHaveLength(model.size)
        await expectCountsToFit(the.store)
      }),
      { numRuns: 30 },
    )
  })
}

function bare(job: JobWithPayload | null): Job | null {
  if (job === null) return null
  const { payload, ...rest } = job
  return rest
}
