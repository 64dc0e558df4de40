// Upkeep: what is due becomes pending, what a dead node left runs again, what kills its node ends.
import { expect, test } from 'vitest'
import { aJob, anError, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

const NOTHING = { expired: [], promoted: [], rescued: [], unblocked: [] }

export function upkeeping(stage: () => Promise<Stage>): void {
  test('an empty database needs no upkeep', async () => {
    const the = await stage()
    expect(await the.store.tick({ node: the.node, now: T0 })).toEqual({ ...NOTHING, next_due: null })
  })

  test('what is due becomes pending, and the next due time is told', async () => {
    const the = await stage()
    const retrying = await the.running()
    await the.end(retrying, { verb: 'retry', error: anError(), delay: 90 }, T0 + 10)
    const scheduled = await the.add({ run_at: T0 + 50 })
    await the.add({ run_at: T0 + 300 })
    await the.add()
    expect(await the.store.tick({ node: the.node, now: T0 + 49 })).toMatchObject({ promoted: [], next_due: T0 + 50 })
    const first = await the.store.tick({ node: the.node, now: T0 + 50 })
    expect(first.promoted).toMatchObject([{ id: scheduled.id, status: 'pending', run_at: null, rank: scheduled.rank }])
    expect(first).toMatchObject({ rescued: [], next_due: T0 + 100 })
    const second = await the.store.tick({ node: the.node, now: T0 + 120 })
    expect(second.promoted).toMatchObject([{ id: retrying.id, status: 'pending', attempt: 1 }])
    expect(second.next_due).toBe(T0 + 300)
    expect(await the.store.tick({ node: the.node, now: T0 + 300 })).toMatchObject({ next_due: null })
    expect(await the.store.tick({ node: the.node, now: T0 + 300 })).toMatchObject({ promoted: [] })
  })

  test('cancelled and claimed jobs are no longer due', async () => {
    const the = await stage()
    const cancelled = await the.add({ run_at: T0 + 50 })
    await the.store.cancel(cancelled.id, 'not wanted', T0 + 1)
    await the.add({ run_at: T0 + 60 })
    await the.claim([1], { at: T0 + 60 })
    expect(await the.store.tick({ node: the.node, now: T0 + 99 })).toEqual({
      ...NOTHING,
      rescued: [],
      next_due: null,
    })
  })

  test('what runs on a node that lives is left alone', async () => {
    const the = await stage()
    const job = await the.running()
    expect(await the.store.tick({ node: the.node, now: T0 + 1_000 })).toMatchObject({ rescued: [] })
    expect(await the.store.get(job.id)).toEqual(job)
  })

  test('what ran on a dead node is pending again, uncharged, with its rank', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    await the.store.renew([{ id: job.id, run: 1, progress: 60, note: 'row 6', at: T0 + 4 }])
    const younger = await the.add({}, T0 + 1)
    await the.crash()
    const { rescued } = await the.store.tick({ node: the.node, now: T0 + 50 })
    expect(rescued).toMatchObject([
      { id: job.id, status: 'pending', attempt: 0, run: 1, interruptions: 1, progress: 0 },
    ])
    expect(rescued).toMatchObject([{ rank: job.rank, node: null, slot: null, started_at: null, reason: 'rescued' }])
    expect(await the.store.get(job.id)).toMatchObject({ ...rescued[0], progress_note: null })
    expect(await the.store.tick({ node: the.node, now: T0 + 51 })).toMatchObject({ rescued: [] })
    expect(await the.end(job, { verb: 'complete', result: '"late"', artifacts: [] }, T0 + 55)).toBeNull()
    const claimed = await the.claim([1, 2], { at: T0 + 60 })
    expect(claimed).toMatchObject([
      { id: job.id, attempt: 1, run: 2, interruptions: 1 },
      { id: younger.id, attempt: 1, run: 1 },
    ])
  })

  test('the third interruption ends a job as poison', async () => {
    const the = await stage()
    const { id } = await the.add()
    for (const interruptions of [1, 2]) {
      await the.claim([1])
      await the.crash()
      const { rescued } = await the.store.tick({ node: the.node, now: T0 + 50 })
      expect(rescued).toMatchObject([{ id, status: 'pending', interruptions }])
    }
    await the.claim([1])
    await the.crash()
    const { rescued } = await the.store.tick({ node: the.node, now: T0 + 99 })
    expect(rescued).toMatchObject([{ id, status: 'failed', interruptions: 3, run: 3, finished_at: T0 + 99 }])
    expect(rescued).toMatchObject([{ reason: 'poison', error: { code: 'poison', attempt: 1 } }])
    expect(await the.store.get(id)).toMatchObject({ ...rescued[0] })
    const runs = await the.store.attempts(id)
    expect(runs.map(({ outcome }) => outcome)).toEqual(['rescue', 'rescue', 'fail'])
    expect(await the.claim([1], { at: T0 + 100 })).toEqual([])
    const again = await the.store.rerun(id, T0 + 200)
    expect(again).toMatchObject({ changed: true, job: { interruptions: 0, error: null } })
  })

  test('interruptions are counted over releases and retries', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    await the.crash()
    await the.store.tick({ node: the.node, now: T0 + 1 })
    const [second] = await the.claim([1])
    expect(await the.end(second as never, { verb: 'release', detail: 'shutdown' })).toMatchObject({ interruptions: 1 })
    const [third] = await the.claim([1])
    expect(await the.end(third as never, { verb: 'retry', error: anError(), delay: 0 })).toMatchObject({
      interruptions: 1,
    })
    expect(job.id).toBe(third?.id)
  })

  /** Ticks as often as it is told to by `next_due`; answers the jobs that came back. */
  async function tickUntilDone(the: Stage, now: number): Promise<string[]> {
    const seen: string[] = []
    for (let next: number | null = now; next !== null && next <= now; ) {
      const { promoted, rescued, next_due } = await the.store.tick({ node: the.node, now })
      seen.push(...ids(promoted), ...ids(rescued))
      next = next_due
    }
    return seen.sort()
  }

  test('more orphans than one tick may rescue are rescued by the next ones, told to come at once', async () => {
    const the = await stage()
    const jobs = Array.from({ length: 1_100 }, () => aJob())
    await the.store.submit(jobs, NO_BOUNDS)
    await the.claim(jobs.map((_, slot) => slot))
    await the.crash()
    expect(await tickUntilDone(the, T0 + 20)).toEqual(ids(jobs))
    expect(await the.store.counts()).toMatchObject({ a: { now: { pending: 1_100 } } })
  })

  test('more due jobs than one tick may promote are promoted by the next ones, told to come at once', async () => {
    const the = await stage()
    const jobs = Array.from({ length: 1_100 }, () => aJob({ run_at: T0 + 10 }))
    await the.store.submit(jobs, NO_BOUNDS)
    expect(await tickUntilDone(the, T0 + 20)).toEqual(ids(jobs))
    expect(await the.store.counts()).toMatchObject({ a: { now: { pending: 1_100 } } })
  })
}
