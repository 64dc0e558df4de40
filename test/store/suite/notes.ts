// What runs leave behind, how jobs are found again, and what stands before one: log lines, checkpoints, tags, standing.
import { expect, test } from 'vitest'
import type { Job } from '../../../src/job.js'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0, wholly } from './stage.js'

const START = { run: 0, line: 0 }

export function noting(stage: () => Promise<Stage>): void {
  test('log lines are kept by run, in order, also those that come after the end of it', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    const say = (run: number, ...messages: string[]) =>
      the.store.append([{ id: job.id, run, lines: messages.map((message, i) => ({ at: T0 + i, message })) }])
    await say(1, 'one', 'two')
    await the.end(job, { verb: 'retry', error: anError(), delay: 1 })
    await say(1, 'three')
    await the.claim([1], { at: T0 + 50 })
    await say(2, 'again')
    await say(3, 'of no run')
    const lines = await the.store.logs(job.id, START, 10)
    expect(lines.map(({ run, line, message }) => [run, line, message])).toEqual([
      [1, 1, 'one'],
      [1, 2, 'two'],
      [1, 3, 'three'],
      [2, 1, 'again'],
    ])
    expect(await the.store.logs(job.id, { run: 1, line: 2 }, 1)).toMatchObject([{ message: 'three', at: T0 }])
    expect(await the.store.logs('nobody', START, 10)).toEqual([])
  })

  test('log lines of the latest 10 runs are kept, and go with their job', async () => {
    const the = await stage()
    const { id } = await the.add()
    for (let run = 1; run <= 12; run += 1) {
      const [job] = await the.claim([1], { at: T0 + run })
      await the.store.append([{ id, run, lines: [{ at: T0, message: `run ${run}` }] }])
      await the.end(job as Job, run < 12 ? { verb: 'release', detail: 'x' } : complete, T0 + run)
    }
    const runs = (await the.store.logs(id, START, 100)).map(({ run }) => run)
    expect(runs).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    await the.store.remove(id)
    expect(await the.store.logs(id, START, 100)).toEqual([])
  })

  test('a checkpoint survives retries, crashes and reruns, and is gone once the job is completed', async () => {
    const the = await stage()
    const { id } = await the.running({ type: 'a', max_attempts: 2 })
    expect(await the.store.lastCheckpoint(id)).toBeNull()
    expect(await the.store.checkpoint({ id, run: 1 }, '{"n":1}')).toBe(true)
    expect(await the.store.checkpoint({ id, run: 2 }, '{"n":9}')).toBe(false)
    await the.crash()
    await the.store.tick({ node: the.node, now: T0 + 10 })
    expect(await the.store.checkpoint({ id, run: 1 }, '{"n":9}')).toBe(false)
    const [second] = await the.claim([1], { at: T0 + 20 })
    expect(await the.store.lastCheckpoint(id)).toBe('{"n":1}')
    await the.store.checkpoint({ id, run: 2 }, '{"n":2}')
    await the.end(second as Job, { verb: 'fail', error: anError() }, T0 + 30)
    await the.store.rerun(id, T0 + 40)
    const [third] = await the.claim([1], { at: T0 + 50 })
    expect(await the.store.lastCheckpoint(id)).toBe('{"n":2}')
    await the.end(third as Job, complete, T0 + 60)
    expect(await the.store.lastCheckpoint(id)).toBeNull()
  })

  test('lists find jobs by tag, batch and time, together with status and type', async () => {
    const the = await stage()
    const first = await the.add({ tags: { customer: '7', kind: 'x' } }, T0)
    const second = await the.add({ tags: { customer: '7' }, type: 'b' }, T0 + 10)
    const third = await the.add({ tags: { customer: '70' } }, T0 + 20)
    const find = async (filter: object) => ids((await the.store.list(filter, 10, null)).jobs)
    expect(await find({ tag: 'customer:7' })).toEqual([second.id, first.id])
    expect(await find({ tag: 'customer:7', type: 'a' })).toEqual([first.id])
    expect(await find({ tag: 'customer:7', status: ['failed'] })).toEqual([])
    expect(await find({ tag: 'customer:' })).toEqual([])
    expect(await find({ created_after: T0 + 5 })).toEqual([third.id, second.id])
    expect(await find({ created_after: T0 + 10, type: 'a' })).toEqual([third.id])
    expect(await find({ from_id: second.id })).toEqual([third.id, second.id])
    await the.store.cancel(first.id, 'no', T0 + 30)
    await the.store.remove(first.id)
    expect(await find({ tag: 'customer:7' })).toEqual([second.id])
  })

  test('pages of a list meet each job once while others come and go', async () => {
    const the = await stage()
    const jobs: Job[] = []
    for (let i = 0; i < 30; i += 1) jobs.push(await the.add({ tags: { even: String(i % 2) } }, T0 + i))
    const seen: string[] = []
    for (let before: string | null = null, round = 0; ; round += 1) {
      const page: Awaited<ReturnType<typeof the.store.list>> = await the.store.list({ tag: 'even:1' }, 4, before)
      seen.push(...ids(page.jobs))
      if (page.next === null) break
      before = page.next
      await the.add({ tags: { even: '1' } }, T0 + 100)
      const gone = jobs[2 * round] as Job
      await the.store.cancel(gone.id, 'no', T0)
      await the.store.remove(gone.id)
    }
    expect(seen).toEqual(ids(jobs.filter((_, i) => i % 2 === 1)).reverse())
  })

  test('a list that looks at many jobs of which few fit ends its page, and goes on from there', async () => {
    const the = await stage()
    const wanted = await the.add({ tags: { k: 'v' }, type: 'b' })
    await the.store.submit(
      Array.from({ length: 6_000 }, () => aJob({ tags: { k: 'v' } })),
      NO_BOUNDS,
    )
    const filter = { tag: 'k:v', type: 'b' }
    const first = await the.store.list(filter, 10, null)
    expect([first.jobs, first.next === null]).toEqual([[], false])
    const second = await the.store.list(filter, 10, first.next)
    expect([ids(second.jobs), second.next]).toEqual([[wanted.id], null])
  })

  test('what stands before a job: those that go first, its key, its rate, its dependencies, its batch', async () => {
    const the = await stage()
    const holder = await the.running({ concurrency_key: 'k' })
    const [before] = [await the.add({ priority: 1 })]
    const held = await the.add({ concurrency_key: 'k' }, T0 + 1)
    const job = await the.add({ type: 'b', depends_on: [] }, T0 + 2)
    const waiting = await the.add({ depends_on: [holder.id, job.id] })
    const rate = { limit: 1, per_ms: 60_000 }
    const shares = [wholly('a'), { ...wholly('b'), rate }]
    const standing = (of: Job) => the.store.standing(of, shares, T0 + 10)
    expect(await standing(job)).toMatchObject({ ahead: 1, key_holder: null, rate_next_at: null, batch: null })
    expect(await standing(held)).toMatchObject({ key_holder: { id: holder.id, status: 'processing' } })
    expect(await standing(before)).toMatchObject({ ahead: 0 })
    expect((await standing(waiting)).open_dependencies.sort()).toEqual([holder.id, job.id].sort())
    await the.store.claim({ node: the.node, shares: [shares[1] as never], slots: [2], now: T0 + 10 })
    const next = await the.add({ type: 'b' }, T0 + 11)
    expect(await standing(next)).toMatchObject({ rate_next_at: T0 + 10 + 60_000 })
  })

  test('a bound on the pending jobs of one type holds for that type alone', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_pending_of: new Map([['a', 2]]) }
    await store.submit([aJob(), aJob({ type: 'b' }), aJob({ run_at: T0 + 99 })], bounds)
    await expect(store.submit([aJob(), aJob()], bounds)).rejects.toMatchObject({
      code: 'queue_full',
      message: expect.stringContaining('jobs.a.queue_size'),
    })
    await store.submit([aJob(), aJob({ type: 'b' })], bounds)
    await expect(store.submit([aJob()], bounds)).rejects.toMatchObject({ code: 'queue_full' })
  })
}
