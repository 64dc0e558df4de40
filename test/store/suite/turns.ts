// Concurrency keys, rates and start_by: what keeps a pending job from being claimed.
import fc from 'fast-check'
import { v7 } from 'uuid'
import { expect, test } from 'vitest'
import type { Job } from '../../../src/job.js'
import { anError, complete, ids, RULES, type Stage, T0, wholly } from './stage.js'

const key = { concurrency_key: 'customer-7' }

export function takingTurns(stage: () => Promise<Stage>): void {
  test('jobs of a concurrency key run one at a time, in their order, whatever their types', async () => {
    const the = await stage()
    const jobs = [
      await the.add(key, T0),
      await the.add({ ...key, type: 'b' }, T0 + 1),
      await the.add({ ...key, priority: 5 }, T0 + 2),
      await the.add({ ...key, priority: 1 }, T0 + 3),
    ]
    const other = await the.add({ type: 'b' }, T0 + 9)
    const claim = () => the.claim([1, 2, 3], { types: ['a', 'b'], at: T0 + 99 })
    const order: string[] = []
    for (let running = await claim(); running.length > 0; running = await claim()) {
      expect(running.filter(({ concurrency_key }) => concurrency_key !== null)).toHaveLength(1)
      order.push(...ids(running))
      for (const job of running) await the.end(job, complete, T0 + 99)
    }
    expect(order.filter((id) => id !== other.id)).toEqual(ids([jobs[3], jobs[0], jobs[1], jobs[2]] as Job[]))
  })

  test('a job that is retried keeps its key until it is final', async () => {
    const the = await stage()
    const first = await the.add(key)
    const second = await the.add(key, T0 + 1)
    const [running] = await the.claim([1])
    await the.end(running as Job, { verb: 'retry', error: anError(), delay: 500 })
    expect(await the.claim([1, 2], { at: T0 + 100 })).toEqual([])
    const [again] = await the.claim([1, 2], { at: T0 + 600 })
    expect(again?.id).toBe(first.id)
    await the.end(again as Job, { verb: 'fail', error: anError() }, T0 + 700)
    expect(ids(await the.claim([1, 2], { at: T0 + 700 }))).toEqual([second.id])
  })

  test.each(['release', 'crash', 'snooze', 'cancel'])('after a %s the key goes to whom it belongs', async (what) => {
    const the = await stage()
    const first = await the.add(key)
    const second = await the.add(key, T0 + 1)
    const [running] = await the.claim([1])
    if (what === 'release') await the.end(running as Job, { verb: 'release', detail: 'shutdown' })
    if (what === 'snooze') await the.end(running as Job, { verb: 'snooze', delay: 10 })
    if (what === 'cancel') await the.end(running as Job, { verb: 'cancel' })
    if (what === 'crash') await the.crash()
    await the.store.tick({ node: the.node, now: T0 + 50 })
    const next = await the.claim([1, 2], { at: T0 + 50 })
    expect(ids(next)).toEqual([what === 'cancel' ? second.id : first.id])
  })

  test('where the first is cancelled, adjusted or expires, the next one may go', async () => {
    const the = await stage()
    const jobs = [await the.add(key), await the.add(key, T0 + 1), await the.add({ ...key, start_by: T0 + 50 }, T0 + 2)]
    const last = await the.add(key, T0 + 3)
    await the.store.cancel((jobs[0] as Job).id, 'not wanted', T0 + 4)
    await the.store.adjust((jobs[1] as Job).id, { run_at: T0 + 5_000 }, T0 + 4)
    expect(ids(await the.claim([1, 2], { at: T0 + 60 }))).toEqual([last.id])
    expect(await the.store.get((jobs[2] as Job).id)).toMatchObject({ status: 'failed' })
  })

  test('nothing starves: a job goes before all that came later than its priority may cost it', async () => {
    const arrival = fc.record({ wait: fc.integer({ min: 0, max: 20_000 }), priority: fc.integer({ min: 1, max: 5 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 5, maxLength: 40 }), async (arrivals) => {
        const the = await stage()
        const type = `t-${v7()}`
        const [jobs, order]: [Job[], string[]] = [[], []]
        let now = T0
        const serve = async () => {
          const claimed = await the.claim([1], { types: [type], at: now })
          for (const job of claimed) await the.end(job, complete, now)
          order.push(...ids(claimed))
        }
        for (const { wait, priority } of arrivals) {
          now += wait
          jobs.push(await the.add({ type, priority }, now))
          // Less is served than comes in, so that a queue builds up.
          if (wait % 2 === 0) await serve()
        }
        while (order.length < jobs.length) await serve()
        for (const first of jobs)
          for (const later of jobs) {
            const overdue = first.created_at + (first.priority - 1) * RULES.priority_aging
            if (later.created_at > overdue) expect(order.indexOf(first.id)).toBeLessThan(order.indexOf(later.id))
          }
      }),
      { numRuns: 20 },
    )
  })

  test('a rate holds over any span, and tells when the next may start', async () => {
    const the = await stage()
    for (let i = 0; i < 20; i += 1) await the.add({}, T0)
    await the.add({ type: 'b' })
    const rate = { limit: 3, per_ms: 1_000 }
    const shares = [{ ...wholly('a'), rate }, wholly('b')]
    const starts: number[] = []
    for (let now = T0; now < T0 + 4_000; now += 130) {
      const slots = [1, 2]
      const { claimed, next_at } = await the.store.claim({ node: the.node, shares, slots, now })
      for (const job of claimed) if (job.type === 'a') starts.push(now)
      if (next_at !== null) expect(next_at).toBeGreaterThan(now)
      if (next_at !== null) expect(next_at).toBe(Math.min(...starts.filter((at) => at > now - 1_000)) + 1_000)
    }
    for (const start of starts)
      expect(starts.filter((at) => at >= start && at < start + 1_000).length).toBeLessThanOrEqual(3)
    expect(starts.length).toBeGreaterThanOrEqual(12)
  })

  test('a rate survives a crash, and a clock set back does not stop its type', async () => {
    const the = await stage()
    for (let i = 0; i < 4; i += 1) await the.add({})
    const shares = [{ ...wholly('a'), rate: { limit: 2, per_ms: 60_000 } }]
    const claim = async (now: number) =>
      (await the.store.claim({ node: the.node, shares, slots: [1, 2, 3], now })).claimed.length
    expect(await claim(T0 + 86_400_000)).toBe(2)
    await the.crash()
    await the.store.tick({ node: the.node, now: T0 + 86_400_001 })
    expect(await claim(T0 + 86_400_001)).toBe(0)
    expect(await claim(T0)).toBe(0)
    expect(await claim(T0 + 60_000)).toBe(2)
  })

  test.each(['pending', 'scheduled', 'retrying', 'waiting'])(
    'a %s job fails when its start_by has passed',
    async (status) => {
      const the = await stage()
      const limit = { type: 'late', start_by: T0 + 500 }
      const blocker = await the.running({ type: 'blocker' })
      const job =
        status === 'retrying'
          ? await the.running(limit)
          : await the.add({
              ...limit,
              run_at: status === 'scheduled' ? T0 + 800 : null,
              depends_on: status === 'waiting' ? [blocker.id] : [],
            })
      if (status === 'retrying') await the.end(job, { verb: 'retry', error: anError(), delay: 2_000 })
      const child = await the.add({ depends_on: [job.id] })
      expect(await the.store.get(job.id)).toMatchObject({ status })
      expect(await the.store.tick({ node: the.node, now: T0 + 499 })).toMatchObject({ expired: [], next_due: T0 + 500 })
      const { expired, unblocked } = await the.store.tick({ node: the.node, now: T0 + 500 })
      expect(expired).toMatchObject([
        { id: job.id, status: 'failed', error: { code: 'start_by_passed' }, run_at: null },
      ])
      expect(ids(unblocked)).toEqual([child.id])
    },
  )

  test('a job is not claimed at its start_by or later, also where many expire at once', async () => {
    const the = await stage()
    for (let i = 0; i < 600; i += 1) await the.add({ start_by: T0 + 10 })
    const fine = await the.add({ start_by: T0 + 12 }, T0 + 1)
    const claimed = [...(await the.claim([1, 2], { at: T0 + 11 })), ...(await the.claim([1, 2], { at: T0 + 11 }))]
    expect(ids(claimed)).toEqual([fine.id])
    expect((await the.store.counts()).a?.now).toMatchObject({ failed: 600, processing: 1 })
  })

  test('an adjusted job has the place of its new priority or time', async () => {
    const the = await stage()
    const [first, second, third] = [await the.add({}, T0), await the.add({}, T0 + 1), await the.add({}, T0 + 2)]
    expect(await the.store.adjust(third.id, { priority: 1 }, T0 + 3)).toMatchObject({
      changed: true,
      job: { priority: 1, rank: T0 + 2, status: 'pending', reason: 'adjusted' },
    })
    await the.store.adjust(first.id, { run_at: T0 + 50 }, T0 + 3)
    expect(ids(await the.claim([1, 2, 3], { at: T0 + 10 }))).toEqual([third.id, second.id])
    await the.store.adjust(first.id, { run_at: 0 }, T0 + 11)
    expect(await the.store.get(first.id)).toMatchObject({ status: 'pending', run_at: null })
    expect(ids(await the.claim([3], { at: T0 + 12 }))).toEqual([first.id])
  })

  test('a job is not adjusted to a time at which it would have expired', async () => {
    const the = await stage()
    const job = await the.add({ start_by: T0 + 100, run_at: T0 + 50 })
    expect(await the.store.adjust(job.id, { run_at: T0 + 100 }, T0 + 1)).toMatchObject({
      changed: false,
      before: 'scheduled',
    })
    expect(await the.store.adjust(job.id, { run_at: T0 + 99 }, T0 + 1)).toMatchObject({ changed: true })
  })

  test('what runs or is final is not adjusted', async () => {
    const the = await stage()
    const job = await the.running()
    expect(await the.store.adjust(job.id, { priority: 1 }, T0 + 5)).toMatchObject({
      changed: false,
      before: 'processing',
    })
    await the.end(job, complete)
    expect(await the.store.adjust(job.id, { priority: 1 }, T0 + 20)).toMatchObject({
      changed: false,
      before: 'completed',
    })
    expect(await the.store.adjust('nobody', { priority: 1 }, T0)).toBeNull()
    expect((await the.store.get(job.id))?.priority).toBe(3)
  })
}
