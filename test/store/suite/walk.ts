// Random calls of every verb, crashes included, held against the model; invariants are looked at after each.
import fc from 'fast-check'
import { v7 } from 'uuid'
import { expect, test } from 'vitest'
import { isFinal, JOB_STATUSES, type Job, type JobWithPayload, type Step } from '../../../src/job.js'
import { createModel, type Model } from './model.js'
import { aJob, anError, NO_BOUNDS, type Stage, T0 } from './stage.js'

const TYPES = ['a', 'b', 'c']
const ENDS: Step[] = [
  { verb: 'complete', result: '1', artifacts: [] },
  { verb: 'complete', result: '1', artifacts: [] },
  { verb: 'retry', error: anError(), delay: 30 },
  { verb: 'fail', error: anError() },
  { verb: 'snooze', delay: 20 },
  { verb: 'release', detail: 'shutdown' },
  { verb: 'cancel' },
]

const which = fc.nat(1_000)
const submission = fc.record({
  type: fc.constantFrom(...TYPES),
  priority: fc.integer({ min: 1, max: 5 }),
  delay: fc.constantFrom(0, 0, 20),
  key: fc.constantFrom(null, null, 'k1', 'k2'),
  start_by: fc.constantFrom(null, null, null, 40, 80),
  depends_on: fc.oneof(
    { weight: 2, arbitrary: fc.constant<number[]>([]) },
    fc.array(which, { minLength: 1, maxLength: 3 }),
  ),
  on_dependency_failure: fc.constantFrom('fail' as const, 'run' as const),
})
const a = <T>(weight: number, fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) => ({
  weight,
  arbitrary: fc.record(fields),
})
const is = <const S extends string>(name: S) => fc.constant(name)
const call = fc.oneof(
  a(5, { do: is('submit'), job: submission }),
  a(1, { do: is('batch'), jobs: fc.array(submission, { maxLength: 3 }), open: fc.boolean(), last: fc.boolean() }),
  a(1, { do: is('more'), which, job: submission }),
  a(1, { do: is('close'), which }),
  a(6, { do: is('claim'), types: fc.subarray(TYPES), slots: fc.integer({ min: 0, max: 4 }) }),
  a(8, { do: is('settle'), which, step: fc.constantFrom(...ENDS), late: fc.constantFrom(0, 0, 0, 1) }),
  a(2, { do: is('cancel'), which }),
  a(1, { do: is('cancelBatch'), which }),
  a(2, { do: is('adjust'), which, priority: fc.constantFrom(undefined, 1, 5), at: fc.constantFrom(undefined, 0, 25) }),
  a(2, { do: is('rerun'), which }),
  a(1, { do: is('remove'), which }),
  a(1, { do: is('prune') }),
  a(2, { do: is('tick') }),
  a(1, { do: is('crash') }),
)
type Wanted = typeof submission extends fc.Arbitrary<infer S> ? S : never
type Call = typeof call extends fc.Arbitrary<infer C> ? C : never

export function walking(stage: () => Promise<Stage>, walks: number): void {
  test('leaves the jobs that the model says, and counts that fit', { timeout: 180_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 20, maxLength: 80, size: 'max' }), async (calls) => {
        const the = await stage()
        const model = createModel()
        const walk = createWalk(the, model)
        let now = T0
        for (const next of calls) {
          now += 10
          await walk(next, now)
          await expectInvariants(the, model)
        }
        expect((await the.store.list({}, 1_000, null)).jobs).toHaveLength(model.jobs.size)
        await the.leave()
      }),
      { numRuns: walks },
    )
  })
}

function createWalk(the: Stage, model: Model) {
  const pick = (n: number) => model.all()[n % Math.max(1, model.jobs.size)]
  const pickBatch = (n: number) => [...model.batches.keys()][n % Math.max(1, model.batches.size)]
  /** Makes times of expiry differ: which of two expires first decides what becomes of a third. */
  let count = 0

  function make(of: Wanted, now: number, batch_id: string | null) {
    const { delay, key, start_by, depends_on, ...fixed } = of
    const ids = depends_on.flatMap((n) => pick(n)?.id ?? [])
    count = (count + 1) % 10
    return aJob(
      {
        ...fixed,
        run_at: now + delay,
        max_attempts: 99,
        concurrency_key: key,
        start_by: start_by === null ? null : now + start_by + count,
        depends_on: [...new Set(ids)],
        batch_id,
      },
      now,
    )
  }

  async function submitBatch(next: Extract<Call, { do: 'batch' }>, now: number): Promise<void> {
    const id = v7()
    const jobs = next.jobs.map((job) => make(job, now, id))
    const last = next.last ? [aJob({ waits: true, max_attempts: 99 }, now)] : []
    const batch = { id, open_by: next.open ? the.node : null, on_complete: last[0]?.id ?? null }
    await the.store.submit([...jobs, ...last], NO_BOUNDS, { ...batch, created_at: now })
    model.submit([...jobs, ...last], now, batch)
    if (!next.open) model.closeBatch(id, now)
  }

  async function onJob(next: Call & { which: number }, job: JobWithPayload, now: number): Promise<void> {
    const { id } = job
    if (next.do === 'settle') {
      const runs = job.status === 'processing' && next.late === 0
      const expected = runs ? model.move(job, next.step, now) : null
      expect(await the.end({ ...job, run: job.run - next.late }, next.step, now)).toEqual(bare(expected))
    } else if (next.do === 'rerun') {
      const after = isFinal(job.status) ? model.move(job, { verb: 'rerun' }, now) : null
      expect(await the.store.rerun(id, now)).toEqual({ changed: after !== null, job: alike(bare(after ?? job)) })
    } else if (next.do === 'adjust') {
      const change = { priority: next.priority, run_at: next.at === undefined ? undefined : now + next.at }
      const after = model.adjust(job, change, now)
      expect(await the.store.adjust(id, change, now)).toMatchObject({ changed: after !== null, before: job.status })
    } else if (next.do === 'remove') {
      const removed = isFinal(job.status) && !model.isNeeded(id)
      expect(await the.store.remove(id)).toMatchObject({ removed })
      if (removed) model.remove(job)
    } else if (next.do === 'cancel') {
      model.cancel(job, now)
      await the.store.cancel(id, 'not wanted', now)
    }
  }

  async function prune(): Promise<void> {
    const all = { types: { except: [] }, finished_before: null, max_count: 2, max_bytes: null, limit: 5 }
    const { ids } = await the.store.prune({ ...all, status: ['completed', 'failed', 'cancelled'] })
    for (const id of ids) {
      const job = model.jobs.get(id) as JobWithPayload
      expect([isFinal(job.status), model.isNeeded(id)]).toEqual([true, false])
      model.remove(job)
    }
  }

  return async (next: Call, now: number): Promise<void> => {
    if (next.do === 'submit') {
      const job = make(next.job, now, null)
      await the.store.submit([job], NO_BOUNDS)
      model.submit([job], now)
    } else if (next.do === 'batch') {
      await submitBatch(next, now)
    } else if (next.do === 'claim') {
      model.fallDue(now)
      const best = model.ready(next.types).slice(0, next.slots)
      const expected = best.map((job, i) => model.move(job, { verb: 'claim', node: the.node, slot: i + 1 }, now))
      const slots = Array.from({ length: next.slots }, (_, i) => i + 1)
      expect(await the.claim(slots, { types: next.types, at: now })).toEqual(expected)
    } else if (next.do === 'tick') {
      for (const job of model.all())
        if (job.status === 'processing' && job.node !== the.node) model.move(job, { verb: 'rescue' }, now)
      for (const [id, { open_by }] of [...model.batches])
        if (open_by !== null && open_by !== the.node) model.closeBatch(id, now)
      model.fallDue(now)
      await the.store.tick({ node: the.node, now })
    } else if (next.do === 'crash') {
      await the.crash()
    } else if (next.do === 'prune') {
      await prune()
    } else if (next.do === 'more' || next.do === 'close' || next.do === 'cancelBatch') {
      const id = pickBatch(next.which)
      if (id === undefined) return
      const { open_by } = model.batches.get(id) ?? { open_by: null }
      if (next.do === 'more' && open_by === the.node) {
        const job = make(next.job, now, id)
        const stored = the.store.submit([job], NO_BOUNDS, { id, created_at: now, open_by, on_complete: null })
        if (model.batches.get(id)?.refuses === true)
          await expect(stored).rejects.toMatchObject({ code: 'batch_closed' })
        else {
          await stored
          model.submit([job], now)
        }
      } else if (next.do === 'close' && open_by === the.node) {
        await the.store.closeBatch(id, now)
        model.closeBatch(id, now)
      } else if (next.do === 'cancelBatch') {
        const batch = model.batches.get(id)
        if (batch !== undefined) batch.refuses = true
        const members = [...(batch?.members.keys() ?? [])].sort()
        for (const member of members) {
          const job = model.jobs.get(member)
          if (job !== undefined) model.cancel(job, now)
        }
        await the.store.cancelBatch(id, '', 'not wanted', now)
      }
    } else {
      const job = pick(next.which)
      if (job !== undefined) await onJob(next, job, now)
    }
  }
}

async function expectInvariants(the: Stage, model: Model): Promise<void> {
  const { jobs } = await the.store.scan({}, '')
  expect(jobs.map(alike)).toEqual(model.all().map(alike).sort(byId))
  for (const key of ['k1', 'k2']) {
    const running = jobs.filter((job) => job.concurrency_key === key && job.status === 'processing')
    expect(running.length, `jobs of ${key} that run`).toBeLessThanOrEqual(1)
  }
  for (const job of jobs) {
    expect((job.finished_at !== null) === isFinal(job.status), `${job.id} has ended once`).toBe(true)
    expect(job.run, 'no attempt without a run').toBeGreaterThanOrEqual(job.attempt)
    if (job.status === 'waiting' && job.depends_on.length > 0) expect(model.isSettled(job)).toBe(false)
  }
  for (const [id, { members, open_by, on_complete }] of model.batches) {
    const counted = JOB_STATUSES.map((status) => [status, [...members.values()].filter((one) => one === status).length])
    const expected = { id, open: open_by !== null, on_complete, jobs: Object.fromEntries(counted) }
    expect(await the.store.batch(id)).toMatchObject(expected)
  }
}

const byId = (a: Job, b: Job) => (a.id < b.id ? -1 : 1)

/** Which of several dependencies that failed at once is named is up to the store. */
function alike<J extends Job | null>(job: J): J {
  if (job?.error?.code !== 'dependency_failed') return job
  return { ...job, reason_detail: '', error: { ...job.error, message: '' } }
}

function bare(job: JobWithPayload | null): Job | null {
  if (job === null) return null
  const { payload, ...rest } = job
  return rest
}
