// Dependencies: waiting jobs go on, or fail, in the write that ends what they wait for.
import { expect, test } from 'vitest'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

const failed = { verb: 'fail', error: anError() } as const

export function depending(stage: () => Promise<Stage>): void {
  test('a job waits for all that it depends on, and goes on with the last of them', async () => {
    const the = await stage()
    const [first, second] = [await the.running(), await the.running()]
    const waiting = await the.add({ depends_on: [first.id, second.id] })
    expect(waiting).toMatchObject({ status: 'waiting' })
    expect(await the.claim([3])).toEqual([])
    const settle = async (job: typeof first, now: number) =>
      the.store.settle([{ id: job.id, run: job.run, step: complete, now }])
    expect((await settle(first, T0 + 10)).unblocked).toEqual([])
    const { unblocked } = await settle(second, T0 + 20)
    expect(unblocked).toMatchObject([{ id: waiting.id, status: 'pending', reason: 'unblocked', updated_at: T0 + 20 }])
    expect(ids(await the.claim([3], { at: T0 + 30 }))).toEqual([waiting.id])
  })

  test('one with a time of its own is scheduled then', async () => {
    const the = await stage()
    const first = await the.running()
    const waiting = await the.add({ depends_on: [first.id], run_at: T0 + 1_000 })
    expect(waiting).toMatchObject({ status: 'waiting', run_at: T0 + 1_000 })
    await the.end(first, complete)
    expect(await the.store.get(waiting.id)).toMatchObject({ status: 'scheduled', run_at: T0 + 1_000 })
    expect(ids(await the.claim([1], { at: T0 + 1_000 }))).toEqual([waiting.id])
  })

  test.each([
    ['failed', failed],
    ['cancelled', { verb: 'cancel' } as const],
  ])('one that %s fails those that depend on it, and theirs', async (status, step) => {
    const the = await stage()
    const first = await the.running()
    const other = await the.running()
    const child = await the.add({ depends_on: [first.id, other.id] })
    const grandchild = await the.add({ depends_on: [child.id] })
    const { unblocked } = await the.store.settle([{ id: first.id, run: 1, step, now: T0 + 10 }])
    expect(ids(unblocked)).toEqual([child.id, grandchild.id])
    expect(await the.store.get(child.id)).toMatchObject({
      status: 'failed',
      finished_at: T0 + 10,
      error: { code: 'dependency_failed', message: expect.stringContaining(`${first.id}, which it depends on, `) },
      reason_detail: expect.stringContaining(status === 'failed' ? 'failed' : 'was cancelled'),
    })
    expect(await the.store.get(grandchild.id)).toMatchObject({ error: { code: 'dependency_failed' } })
  })

  test('on_dependency_failure run lets a job run whatever became of the others', async () => {
    const the = await stage()
    const [first, second] = [await the.running(), await the.add({ run_at: T0 + 9_000 })]
    const waiting = await the.add({ depends_on: [first.id, second.id], on_dependency_failure: 'run' })
    await the.end(first, failed)
    expect(await the.store.get(waiting.id)).toMatchObject({ status: 'waiting' })
    const { unblocked } = (await the.store.cancel(second.id, 'not wanted', T0 + 20)) ?? {}
    expect(unblocked).toMatchObject([{ id: waiting.id, status: 'pending' }])
  })

  test('what is final already is not waited for', async () => {
    const the = await stage()
    const [done, lost] = [await the.running(), await the.running()]
    await the.end(done, complete)
    await the.end(lost, failed)
    const submit = async (more: object) => (await the.store.submit([aJob(more)], NO_BOUNDS))[0]?.job
    expect(await submit({ depends_on: [done.id] })).toMatchObject({ status: 'pending' })
    expect(await submit({ depends_on: [done.id, lost.id] })).toMatchObject({ status: 'failed' })
    expect(await submit({ depends_on: [lost.id], on_dependency_failure: 'run' })).toMatchObject({ status: 'pending' })
  })

  test('an unknown one refuses the whole submission, and says which', async () => {
    const the = await stage()
    const known = await the.add()
    const jobs = [aJob(), aJob({ depends_on: [known.id, 'nobody'] })]
    await expect(the.store.submit(jobs, NO_BOUNDS)).rejects.toMatchObject({
      code: 'unknown_dependency',
      errors: [{ pointer: '/jobs/1/depends_on/1' }],
    })
    await expect(the.store.submit([jobs[1] as never], NO_BOUNDS)).rejects.toMatchObject({
      errors: [{ pointer: '/depends_on/1' }],
    })
    expect((await the.store.list({}, 10, null)).jobs).toHaveLength(1)
  })

  test('one whose priority or time is changed goes on to wait', async () => {
    const the = await stage()
    const first = await the.running()
    const waiting = await the.add({ depends_on: [first.id] })
    await the.store.adjust(waiting.id, { priority: 1 }, T0 + 5)
    await the.store.adjust(waiting.id, { run_at: T0 + 500 }, T0 + 6)
    expect(await the.store.get(waiting.id)).toMatchObject({ status: 'waiting', priority: 1, run_at: T0 + 500 })
    await the.end(first, complete)
    expect(await the.store.get(waiting.id)).toMatchObject({ status: 'scheduled', reason: 'unblocked' })
  })

  test('a job is neither pruned nor removed while one that is not final depends on it', async () => {
    const the = await stage()
    const [first, second] = [await the.running(), await the.running()]
    const waiting = await the.add({ depends_on: [first.id, second.id] })
    await the.end(first, complete)
    const all = { types: { except: [] }, finished_before: T0 + 99, max_count: null, max_bytes: null, limit: 10 }
    const prune = async () => (await the.store.prune({ ...all, status: ['completed'] })).ids
    expect(await prune()).toEqual([])
    expect(await the.store.remove(first.id)).toMatchObject({ removed: false })
    await the.end(second, complete)
    expect(await the.store.get(waiting.id)).toMatchObject({ status: 'pending' })
    expect(await prune()).toEqual([])
    const run = async () => the.end((await the.claim([1], { at: T0 + 30 }))[0] as never, complete, T0 + 200)
    await run()
    // It runs again, and may ask again for what they made.
    await the.store.rerun(waiting.id, T0 + 300)
    expect(await prune()).toEqual([])
    expect(await the.store.remove(first.id)).toMatchObject({ removed: false })
    await run()
    expect((await prune()).sort()).toEqual([first.id, second.id].sort())
  })

  test('more dependents than one write tells are told by upkeep, also after a crash', async () => {
    const the = await stage()
    const first = await the.running()
    const jobs = Array.from({ length: 1_300 }, () => aJob({ depends_on: [first.id] }))
    await the.store.submit(jobs, NO_BOUNDS)
    const { unblocked } = await the.store.settle([{ id: first.id, run: 1, step: failed, now: T0 + 10 }])
    expect(unblocked.length).toBeGreaterThan(0)
    expect(unblocked.length).toBeLessThan(jobs.length)
    await the.crash()
    let told = unblocked.length
    for (let due: number | null = T0; due !== null && told < 2_000; ) {
      const tick = await the.store.tick({ node: the.node, now: T0 + 20 })
      told += tick.unblocked.length
      due = tick.next_due
    }
    expect(told).toBe(jobs.length)
    expect((await the.store.list({ status: ['failed'] }, 2_000, null)).jobs).toHaveLength(1 + jobs.length)
  })

  test('a chain of hundreds fails to its end', async () => {
    const the = await stage()
    const first = await the.add()
    const jobs = [first]
    for (let i = 0; i < 700; i += 1) jobs.push(aJob({ depends_on: [(jobs.at(-1) as typeof first).id] }))
    await the.store.submit(jobs.slice(1), NO_BOUNDS)
    await the.store.cancel(first.id, 'not wanted', T0 + 10)
    while ((await the.store.tick({ node: the.node, now: T0 + 20 })).next_due !== null);
    expect((await the.store.counts()).a?.now).toEqual({ failed: 700, cancelled: 1 })
  })

  test('one that is cancelled while it waits fails those that wait for it', async () => {
    const the = await stage()
    const first = await the.running()
    const middle = await the.add({ depends_on: [first.id] })
    const last = await the.add({ depends_on: [middle.id] })
    await the.store.cancel(middle.id, 'not wanted', T0 + 5)
    expect(await the.store.get(last.id)).toMatchObject({ status: 'failed' })
    expect((await the.store.settle([{ id: first.id, run: 1, step: complete, now: T0 + 9 }])).unblocked).toEqual([])
  })
}
