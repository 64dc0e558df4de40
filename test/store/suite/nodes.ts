// Several nodes on one database: what two of them do at the same moment is done once, and what one leaves another takes over.
import { setTimeout as sleep } from 'node:timers/promises'
import { v7 } from 'uuid'
import { expect, test } from 'vitest'
import type { Job } from '../../../src/job.js'
import type { Schedule, Store } from '../../../src/store/store.js'
import { until } from '../../support/until.js'
import { aJob, anError, complete, expectCountsToFit, ids, NO_BOUNDS, RULES, type Stage, T0, wholly } from './stage.js'

const MANY = 10_000
const slots = (n: number) => Array.from({ length: n }, (_, i) => i + 1)
const claimOn = async (store: Store, node: string, n = 1, type = 'a', now = T0 + 10) =>
  (await store.claim({ node, shares: [wholly(type)], slots: slots(n), now })).claimed
const end = ({ id, run }: Job, now = T0 + 20) => ({ id, run, step: complete, now })

/** What `ask` answers on all nodes at once. */
const onAll = <T>(stores: readonly Store[], ask: (store: Store, i: number) => Promise<T>) =>
  Promise.all(stores.map(ask))

export function sharing(stage: () => Promise<Stage>): void {
  test('10,000 jobs are claimed and ended by three nodes, each job once', { timeout: 120_000 }, async () => {
    const the = await stage()
    const stores = await the.stores()
    for (let n = 0; n < MANY; n += 2_000)
      await the.store.submit(
        slots(2_000).map(() => aJob()),
        NO_BOUNDS,
      )
    const claimed: string[] = []
    const byNode = await onAll(stores, async (store, i) => {
      let mine = 0
      while (claimed.length < MANY) {
        const jobs = await claimOn(store, `node-${i}`, 100)
        claimed.push(...ids(jobs))
        mine += jobs.length
        const { ended } = await store.settle(jobs.map((job) => end(job)))
        expect(ended.every((job) => job?.status === 'completed' && job.run === 1)).toBe(true)
      }
      return mine
    })
    expect([claimed.length, new Set(claimed).size]).toEqual([MANY, MANY])
    expect(Math.min(...byNode)).toBeGreaterThan(0)
    expect((await the.store.counts()).a).toMatchObject({ now: { completed: MANY }, ever: { completed: MANY } })
  })

  test('a run is rescued by another node when the lease of its own is over, and not before', async () => {
    const the = await stage()
    const other = await the.join('other')
    const job = await the.running()
    expect(await other.tick({ node: 'other', now: T0 + 99_999_999 })).toMatchObject({ rescued: [] })
    await the.expire(the.node)
    const { rescued } = await other.tick({ node: 'other', now: T0 + 50 })
    expect(rescued).toMatchObject([{ id: job.id, status: 'pending', reason: 'rescued', interruptions: 1, attempt: 0 }])
    expect(await other.tick({ node: 'other', now: T0 + 51 })).toMatchObject({ rescued: [] })
    expect(await other.attempts(job.id)).toMatchObject([{ run: 1, node: the.node, outcome: 'rescue' }])
  })

  test('a cancel that was asked for on another node beats the end of the run', async () => {
    const the = await stage()
    const other = await the.join('other')
    const job = await the.running()
    expect(await other.cancel(job.id, 'not wanted', T0 + 5)).toMatchObject({ answer: 'requested' })
    expect(await the.end(job, complete, T0 + 10)).toMatchObject({ status: 'cancelled', reason_detail: 'not wanted' })
    expect(await other.attempts(job.id)).toMatchObject([{ outcome: 'cancel', error: null, finished_at: T0 + 10 }])
  })

  test('outcome, progress and checkpoint of a run that was rescued change nothing', async () => {
    const the = await stage()
    const other = await the.join('other')
    const late = await the.running({ type: 'a' })
    await the.expire(the.node)
    await other.tick({ node: 'other', now: T0 + 50 })
    const [again] = await claimOn(other, 'other', 1, 'a', T0 + 60)
    expect(again).toMatchObject({ id: late.id, run: 2, node: 'other' })
    expect(await the.end(late, complete, T0 + 70)).toBeNull()
    expect(await the.end(late, { verb: 'fail', error: anError() }, T0 + 71)).toBeNull()
    const report = { id: late.id, run: late.run, progress: 99, note: 'late', at: T0 + 72 }
    expect(await the.store.renew([report])).toEqual({ lost: [late.id], cancel_requested: [] })
    expect(await the.store.checkpoint(late, '"late"')).toBe(false)
    expect(await other.get(late.id)).toEqual(again)
    expect(await other.lastCheckpoint(late.id)).toBeNull()
    expect((await other.settle([end(again as Job, T0 + 80)])).ended).toMatchObject([{ status: 'completed' }])
  })

  test('a job whose nodes go again and again fails at poison_after', async () => {
    const the = await stage()
    const other = await the.join('other')
    const { id } = await the.add()
    for (let n = 1; n <= RULES.poison_after; n += 1) {
      expect(ids(await the.claim([1]))).toEqual([id])
      await the.expire(the.node)
      const { rescued } = await other.tick({ node: 'other', now: T0 + 50 })
      const status = n < RULES.poison_after ? 'pending' : 'failed'
      expect(rescued).toMatchObject([{ id, interruptions: n, status }])
    }
    expect(await the.claim([1])).toEqual([])
  })

  test('a node that was taken for dead and beats again works on, with other runs', async () => {
    const the = await stage()
    const slow = await the.join('slow', 1_200)
    const isRescued = async () => (await the.store.tick({ node: the.node, now: T0 + 50 })).rescued.length > 0
    const run = async () => {
      await the.add({ type: 'b' })
      return (await claimOn(slow, 'slow', 1, 'b'))[0] as Job
    }
    const lost = await run()
    await until('its lease is over', async () => {
      await the.expire('slow')
      return isRescued()
    })
    expect((await slow.settle([end(lost)])).ended).toEqual([null])
    await until('it is alive again', async () => {
      const job = await run()
      await sleep(50)
      if (await isRescued()) return false
      expect((await slow.settle([end(job)])).ended).toMatchObject([{ status: 'completed', node: 'slow' }])
      return true
    })
  })

  test('counts are the sums over all nodes, on each of them', async () => {
    const the = await stage()
    const stores = await the.stores()
    const [first, second, third] = stores as [Store, Store, Store]
    for (const store of stores) await store.submit([aJob(), aJob()], NO_BOUNDS)
    const jobs = await claimOn(second, 'second', 5)
    await third.settle(jobs.slice(0, 3).map((job) => end(job)))
    await first.remove(String(jobs[0]?.id))
    for (const store of stores) {
      expect((await store.counts()).a).toMatchObject({ now: { pending: 1, processing: 2, completed: 2 } })
      expect((await store.counts()).a?.ever).toEqual({ completed: 3 })
      await expectCountsToFit(store)
    }
  })

  test('what is due is moved by one of the nodes whose upkeep meets', async () => {
    const the = await stage()
    const stores = await the.stores()
    await the.store.submit(
      slots(400).map((n) => (n % 2 ? aJob({ run_at: T0 + 50 }) : aJob({ run_at: T0 + 90, start_by: T0 + 40 }))),
      NO_BOUNDS,
    )
    const ticks = await onAll(stores, (store, i) => store.tick({ node: `node-${i}`, now: T0 + 60 }))
    const moved = (which: 'promoted' | 'expired') => ticks.flatMap((tick) => ids(tick[which]))
    expect([moved('promoted').length, new Set(moved('promoted')).size]).toEqual([200, 200])
    expect([moved('expired').length, new Set(moved('expired')).size]).toEqual([200, 200])
  })

  test('a tick that several nodes fire at once runs once', async () => {
    const the = await stage()
    const stores = await the.stores()
    const timing = { document: '{}', anchor: T0, created_at: T0, updated_at: T0, paused_at: null, delay: null }
    const after = { ...timing, name: 'often', source: 'http' as const, next_at: T0 + 1 }
    let read = (await the.store.putSchedule({ before: null, after })) as Schedule
    for (let n = 1; n <= 10; n += 1) {
      const tick_at = T0 + n
      const fired = await onAll(stores, (store) => {
        const job = aJob({ schedule: 'often' }, tick_at)
        const tick = { tick_at, until: tick_at, asked: false, job_id: null, reason: 'on_time', job }
        const { name, updated_at, next_at } = read
        const fire = { name, updated_at, from: next_at, next_at: tick_at + 1, queue: true, ticks: [tick], now: tick_at }
        return store.fire([fire], NO_BOUNDS)
      })
      expect(fired.flat().flatMap(({ jobs }) => jobs)).toHaveLength(1)
      read = (await the.store.schedule('often')) as Schedule
    }
    expect((await the.store.list({}, 100, null)).jobs).toHaveLength(10)
  })

  test.each(['idempotency', 'unique'] as const)(
    'an %s key that comes to several nodes at once makes one job',
    async (kind) => {
      const the = await stage()
      const stores = await the.stores()
      for (let n = 0; n < 10; n += 1) {
        const keys = [{ kind, owner: 'shop', key: `k${n}`, fingerprint: null, expires_at: T0 + 1_000 }]
        const answers = await onAll(stores, (store) => store.submit([{ ...aJob(), keys }], NO_BOUNDS))
        expect(answers.flat().filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
        expect(new Set(answers.flat().map(({ job }) => job.id)).size).toBe(1)
      }
      expect((await the.store.list({}, 100, null)).jobs).toHaveLength(10)
    },
  )

  test('a pause that one node sets is obeyed by the others, until another one lifts it', async () => {
    const the = await stage()
    const other = await the.join('other')
    await the.add()
    await the.store.pause('a', true)
    expect(await claimOn(other, 'other')).toEqual([])
    await other.pause('a', false)
    expect(await the.claim([1])).toHaveLength(1)
  })

  test('jobs that end on several nodes at the same moment unblock what waits for all of them once', async () => {
    const the = await stage()
    const stores = await the.stores()
    for (let n = 0; n < 20; n += 1) {
      const ending = [await the.running(), await the.running(), await the.running()]
      const { id } = await the.add({ type: 'waits', depends_on: ids(ending) })
      const answers = await onAll(stores, (store, i) => store.settle([end(ending[i] as Job)]))
      expect(ids(answers.flatMap(({ unblocked }) => unblocked))).toEqual([id])
      expect(await the.store.get(id)).toMatchObject({ status: 'pending', updated_at: T0 + 20 })
    }
  })

  test('the last jobs of a batch end on several nodes at the same moment: what waits for its end goes on once', async () => {
    const the = await stage()
    const stores = await the.stores()
    for (let n = 0; n < 20; n += 1) {
      const batch = { id: v7(), created_at: T0, open_by: null }
      const type = `of-${batch.id}`
      const jobs = slots(3).map(() => aJob({ type, batch_id: batch.id }))
      const last = aJob({ type: 'last', waits: true })
      await the.store.submit([...jobs, last], NO_BOUNDS, { ...batch, on_complete: last.id })
      const running = await claimOn(the.store, the.node, 3, type)
      const answers = await onAll(stores, (store, i) => store.settle([end(running[i] as Job)]))
      expect(ids(answers.flatMap(({ unblocked }) => unblocked))).toEqual([last.id])
    }
  })

  test('a job that is to wait for one that ends at the same moment on another node does not wait for ever', async () => {
    const the = await stage()
    const other = await the.join('other')
    const waiting: string[] = []
    for (let n = 0; n < 30; n += 1) {
      const job = await the.running()
      const child = aJob({ type: 'waits', depends_on: [job.id] })
      waiting.push(child.id)
      await Promise.all([other.submit([child], NO_BOUNDS), the.end(job, complete)])
    }
    expect((await the.store.list({ type: 'waits', status: ['pending'] }, 100, null)).jobs).toHaveLength(waiting.length)
  })

  test('of jobs with one concurrency key one runs at a time, and a rate holds, over all nodes', async () => {
    const the = await stage()
    const stores = await the.stores()
    await the.store.submit(
      slots(9).map(() => aJob({ type: 'keyed', concurrency_key: 'k' })),
      NO_BOUNDS,
    )
    for (let left = 9; left > 0; left -= 1) {
      const claimed = (await onAll(stores, (store, i) => claimOn(store, `node-${i}`, 2, 'keyed'))).flat()
      expect(claimed).toHaveLength(1)
      await the.end(claimed[0] as Job, complete)
    }
    await the.store.submit(
      slots(30).map(() => aJob({ type: 'rated' })),
      NO_BOUNDS,
    )
    const shares = [{ ...wholly('rated'), rate: { limit: 5, per_ms: 1_000 } }]
    const claims = () =>
      onAll(stores, (store, i) => store.claim({ node: `node-${i}`, shares, slots: [1, 2, 3], now: T0 }))
    const started = [...(await claims()), ...(await claims()), ...(await claims())].flatMap(({ claimed }) => claimed)
    expect(started).toHaveLength(5)
  })
}
