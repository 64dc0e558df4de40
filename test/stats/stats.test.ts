// What the events of jobs add up to: measures, slots and bounds, with an injected clock.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { createEventBus } from '../../src/events.js'
import { type Job, type Step, transition, type Verb } from '../../src/job.js'
import { newJob } from '../../src/new-job.js'
import { createStats } from '../../src/stats/stats.js'
import { sumUp } from '../../src/stats/sum.js'

const START = 1_750_000_000_000
const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const ERROR = { code: 'handler_error', message: 'no luck', attempt: 1 } as const
const MINUTE = 60_000

/** A node whose jobs move as the state machine lets them, at times that the test chooses. */
function startNode(slots = 4) {
  let wall = START
  let elapsed = 0
  let ids = 0
  let max_workers = slots
  const bus = createEventBus()
  const read = createStats({
    bus,
    rules: RULES,
    max_workers: () => max_workers,
    now: () => wall,
    clock: () => elapsed,
  })
  const stats = () => sumUp([{ id: 'n', stats: read() }])

  function submit(type = 'a', more: { priority?: number; run_at?: number } = {}): Job {
    ids += 1
    const fixed = { id: `job-${ids}`, type, payload: '{}', priority: 3, run_at: null, max_attempts: 3, timeout_ms: 1 }
    const job = newJob({ ...fixed, ...more }, wall, RULES)
    bus.publish({ kind: 'job', verb: 'submit', job })
    return job
  }

  function move(job: Job, step: Step, told: Verb = step.verb): Job {
    const next = transition(job, step, wall, RULES)
    if (next === null) throw new Error(`${step.verb} of a ${job.status} job`)
    bus.publish({ kind: 'job', verb: told, job: next })
    return next
  }

  return {
    bus,
    stats,
    submit,
    move,
    claim: (job: Job, slot = 1) => move(job, { verb: 'claim', node: 'n', slot }),
    complete: (job: Job) => move(job, { verb: 'complete', result: null, artifacts: [] }),
    wait(ms: number) {
      wall += ms
      elapsed += ms
    },
    setClockBack(ms: number) {
      wall -= ms
    },
    resize(bound: number) {
      max_workers = bound
    },
  }
}

describe('wait and run', () => {
  test('are measured from due to start to end, over all types and by type', () => {
    const { stats, submit, claim, complete, wait } = startNode()
    const first = submit('a')
    const second = submit('b')
    wait(20)
    const running = claim(first)
    wait(7)
    complete(running)
    complete(claim(second))
    expect(stats()).toMatchObject({
      wait_ms: { count: 2, p50: 20, p95: 27, p99: 27, max: 27 },
      run_ms: { count: 2, p50: 0, p95: 7, p99: 7, max: 7 },
    })
    expect(stats().types.get('a')).toMatchObject({ wait_ms: { count: 1, p50: 20 }, run_ms: { count: 1, p50: 7 } })
    expect(stats().types.get('b')).toMatchObject({ wait_ms: { count: 1, p50: 27 }, run_ms: { count: 1, p50: 0 } })
  })

  test('the wait begins when the job is due, whatever its priority', () => {
    const { stats, submit, claim, wait, move } = startNode()
    const jobs = [1, 5].map((priority) => submit('a', { priority, run_at: START + 10_000 }))
    wait(10_025)
    for (const job of jobs) claim(move(job, { verb: 'promote' }), job.priority)
    expect(stats().wait_ms).toMatchObject({ count: 2, p50: 25, max: 25 })
  })

  test('the wait of a retry begins when the backoff is over', () => {
    const { stats, submit, claim, wait, move } = startNode()
    const retrying = move(claim(submit()), { verb: 'retry', error: ERROR, delay: 5_000 })
    wait(5_003)
    claim(move(retrying, { verb: 'promote' }))
    expect(stats().wait_ms).toMatchObject({ count: 2, max: 3 })
  })

  test('is never negative, also where the clock was set back', () => {
    const { stats, submit, claim, complete, setClockBack } = startNode()
    const job = submit()
    setClockBack(5_000)
    const running = claim(job)
    setClockBack(5_000)
    complete(running)
    expect(stats()).toMatchObject({ wait_ms: { count: 1, max: 0 }, run_ms: { count: 1, max: 0 } })
  })

  const ENDS: Step[] = [
    { verb: 'complete', result: null, artifacts: [] },
    { verb: 'retry', error: ERROR, delay: 5_000 },
    { verb: 'fail', error: ERROR },
    { verb: 'cancel' },
    { verb: 'release', detail: 'shutdown' },
  ]
  for (const step of ENDS) {
    test(`${step.verb} ends a run, which is measured once`, () => {
      const { stats, submit, claim, move, wait } = startNode()
      const running = claim(submit())
      wait(12)
      const after = move(running, step)
      if (after.status === 'completed') move(after, { verb: 'rerun' })
      expect(stats().run_ms).toMatchObject({ count: 1, p50: 12 })
      expect(stats().slots.every(({ job }) => job === null)).toBe(true)
    })
  }

  test('what did not run, or ran elsewhere, has no run', () => {
    const { stats, submit, claim, move } = startNode()
    move(submit(), { verb: 'cancel' })
    const elsewhere = startNode()
    const orphan = elsewhere.claim(elsewhere.submit())
    move(orphan, { verb: 'rescue' })
    move({ ...orphan, interruptions: 2 }, { verb: 'rescue' }, 'fail')
    expect(stats()).toMatchObject({ wait_ms: { count: 0, p50: null }, run_ms: { count: 0, max: null } })
    claim(submit())
    expect(stats()).toMatchObject({ wait_ms: { count: 1 }, run_ms: { count: 0, p99: null } })
  })

  test('are forgotten after a quarter of an hour', () => {
    const { stats, submit, claim, complete, wait } = startNode()
    complete(claim(submit()))
    wait(14 * MINUTE)
    complete(claim(submit()))
    expect(stats().wait_ms.count).toBe(2)
    wait(MINUTE)
    expect(stats().wait_ms.count).toBe(1)
    wait(14 * MINUTE)
    expect(stats()).toMatchObject({ wait_ms: { count: 0 }, run_ms: { count: 0 } })
    // The minute falls into the place of one that was cleared.
    complete(claim(submit()))
    expect(stats().run_ms.count).toBe(1)
  })
})

describe('the slots', () => {
  test('are all listed, with what runs in them and how far it is', () => {
    const { bus, stats, submit, claim, complete, wait } = startNode(3)
    wait(5)
    const job = claim(submit('b'), 2)
    const idle = (slot: number) => ({ node: 'n', slot, job: null })
    const running = { id: job.id, type: 'b', attempt: 1, started_at: START + 5, progress: 0, progress_note: null }
    expect(stats().slots).toMatchObject([idle(1), { slot: 2, job: running }, idle(3)])
    bus.publish({ kind: 'progress', id: job.id, run: job.run, progress: 40, note: 'nearly' })
    bus.publish({ kind: 'progress', id: job.id, run: job.run + 1, progress: 99, note: 'another run' })
    bus.publish({ kind: 'progress', id: 'unknown', run: 1, progress: 99, note: null })
    expect(stats().slots[1]?.job).toMatchObject({ progress: 40, progress_note: 'nearly' })
    complete(job)
    expect(stats().slots).toEqual([idle(1), idle(2), idle(3)])
  })

  test('above a bound that was lowered are listed while they are busy', () => {
    const node = startNode(3)
    const job = node.claim(node.submit(), 3)
    node.resize(1)
    expect(node.stats().slots.map(({ slot }) => slot)).toEqual([1, 3])
    node.complete(job)
    expect(node.stats().slots).toEqual([{ node: 'n', slot: 1, job: null }])
  })

  test('belong to the job claimed last, though the outcome of the one before comes late', () => {
    const { stats, submit, claim, complete, wait } = startNode()
    const before = claim(submit('slow_disk'))
    const after = claim(submit('b'))
    wait(9)
    complete(before)
    expect(stats().slots[0]?.job?.id).toBe(after.id)
    expect(stats().types.get('slow_disk')?.run_ms.count).toBe(1)
    complete(after)
    expect(stats().slots[0]?.job).toBeNull()
  })

  test('of a job that was taken away are free when its late outcome comes', () => {
    const { bus, stats, submit, claim, complete, move, wait } = startNode()
    const lost = claim(submit(), 1)
    const again = claim(move(lost, { verb: 'rescue' }), 2)
    expect(stats().slots.map(({ job }) => job?.id ?? null)).toEqual([lost.id, again.id, null, null])
    wait(3)
    bus.publish({ kind: 'late_outcome', id: lost.id, run: lost.run, outcome: 'completed' })
    expect(stats().slots.map(({ job }) => job?.id ?? null)).toEqual([null, again.id, null, null])
    complete(again)
    expect(stats().run_ms).toMatchObject({ count: 1, max: 3 })
  })
})

describe('throughput and utilisation', () => {
  test('count every end of a job once, also of one that never ran, and no retry', () => {
    const { stats, submit, claim, complete, move } = startNode()
    complete(claim(submit()))
    complete(claim(submit()))
    move(claim(submit()), { verb: 'fail', error: ERROR })
    move(submit(), { verb: 'cancel' })
    move(claim(submit()), { verb: 'retry', error: ERROR, delay: 1 })
    expect(stats().throughput.last_1m).toEqual({
      jobs_per_minute: 240,
      completed_per_minute: 120,
      failed_per_minute: 60,
      cancelled_per_minute: 60,
    })
  })

  test('follow claims, ends and the bound', () => {
    const node = startNode(2)
    const job = node.claim(node.submit())
    node.wait(10_000)
    expect(node.stats().utilisation.last_1m).toBe(0.5)
    node.resize(5)
    node.stats()
    node.wait(10_000)
    // 20 s busy of 10 s × 2 + 10 s × 5.
    expect(node.stats().utilisation.last_1m).toBeCloseTo(20 / 70, 3)
    node.complete(job)
    node.wait(10_000)
    expect(node.stats().utilisation.last_1m).toBeCloseTo(20 / 120, 3)
  })
})

describe('memory', () => {
  test('is bounded however many types there are, and all are part of the totals', () => {
    const { stats, submit, claim, complete, wait } = startNode()
    for (let i = 0; i < 10_000; i += 1) complete(claim(submit(`type-${i}`)))
    expect(stats().types.size).toBe(64)
    expect(stats().wait_ms.count).toBe(10_000)
    // Types that nobody uses any more make room.
    wait(16 * MINUTE)
    complete(claim(submit('new')))
    expect([...stats().types.keys()]).toEqual(['new'])
  })

  test('is given back after each run', () => {
    const { stats, submit, claim, complete } = startNode()
    const round = (jobs: number) => {
      for (let i = 0; i < jobs; i += 1) complete(claim(submit()))
    }
    round(2_000)
    const before = usedHeap()
    round(50_000)
    expect(usedHeap() - before).toBeLessThan(2_000_000)
    expect(stats().run_ms.count).toBe(52_000)
  })
})

function usedHeap(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}
