// Submissions: all or none, and bounds that hold however many arrive at once.
import { expect, test } from 'vitest'
import type { Submission } from '../../../src/new-job.js'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

export function submitting(stage: () => Promise<Stage>): void {
  test('a submitted job reads back field by field', async () => {
    const { store } = await stage()
    const job = aJob({ payload: '{"text":"ünïcödé \\u0000 😀"}', priority: 5, max_attempts: 9, timeout_ms: 123_456 })
    await store.submit([job], NO_BOUNDS)
    expect(await store.get(job.id)).toEqual(job)
  })

  test('jobs of one submission are stored together', async () => {
    const { store } = await stage()
    const jobs = [aJob(), aJob({ type: 'b' }), aJob({ run_at: T0 + 1_000 })]
    await store.submit(jobs, NO_BOUNDS)
    expect(await Promise.all(ids(jobs).map(store.get))).toEqual(jobs)
  })

  test('where one of a submission cannot be stored, none is', async () => {
    const { store } = await stage()
    const known = aJob()
    await store.submit([known], NO_BOUNDS)
    const others = [aJob(), aJob()]
    await expect(store.submit([others[0], { ...known, payload: '2' }, others[1]] as never, NO_BOUNDS)).rejects.toThrow()
    expect((await store.list({}, 10, null)).jobs).toHaveLength(1)
    expect(await store.get(known.id)).toEqual(known)
  })

  test('an id that is given twice in one submission is refused', async () => {
    const { store } = await stage()
    const job = aJob()
    await expect(store.submit([job, job], NO_BOUNDS)).rejects.toThrow()
    expect(await store.get(job.id)).toBeNull()
  })

  test('an id that is there already harms no other write of the same turn', async () => {
    const { store } = await stage()
    const [first, twin, before, after] = [aJob(), aJob(), aJob(), aJob()]
    await store.submit([first], NO_BOUNDS)
    const answers = await Promise.allSettled([
      store.submit([before], NO_BOUNDS),
      store.submit([first], NO_BOUNDS),
      store.submit([twin], NO_BOUNDS),
      store.submit([twin], NO_BOUNDS),
      store.cancel(first.id, 'not wanted', T0 + 1),
      store.submit([after], NO_BOUNDS),
    ])
    const expected = ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled']
    expect(answers.map(({ status }) => status)).toEqual(expected)
    expect(new Set(ids((await store.list({}, 10, null)).jobs))).toEqual(new Set(ids([first, twin, before, after])))
    expect(await store.get(first.id)).toMatchObject({ status: 'cancelled' })
  })

  test('of 200 parallel submissions with room for 50, exactly 50 are accepted', async () => {
    const { store } = await stage()
    const jobs = Array.from({ length: 200 }, () => aJob())
    const bounds = { ...NO_BOUNDS, max_pending: 50, max_stored: 1_000 }
    const answers = await Promise.allSettled(jobs.map((job) => store.submit([job], bounds)))
    const accepted = jobs.filter((_, i) => answers[i]?.status === 'fulfilled')
    expect(accepted).toHaveLength(50)
    for (const answer of answers) {
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'queue_full' })
    }
    expect(ids((await store.list({}, 1_000, null)).jobs).sort()).toEqual(ids(accepted).sort())
  })

  test('a submission that does not fit whole is refused whole, and a smaller one still fits', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_pending: 3, max_stored: 1_000 }
    await store.submit([aJob(), aJob()], bounds)
    await expect(store.submit([aJob(), aJob()], bounds)).rejects.toMatchObject({ code: 'queue_full' })
    await store.submit([aJob()], bounds)
    expect((await store.list({}, 10, null)).jobs).toHaveLength(3)
  })

  test('max_pending counts pending jobs of all types and nothing else', async () => {
    const the = await stage()
    const bounds = { ...NO_BOUNDS, max_pending: 2, max_stored: 1_000 }
    await the.running()
    await the.store.submit([aJob({ type: 'b' })], bounds)
    await the.store.submit([aJob()], bounds)
    await expect(the.store.submit([aJob({ type: 'c' })], bounds)).rejects.toMatchObject({ code: 'queue_full' })
    await the.claim([1])
    await the.store.submit([aJob({ type: 'c' })], bounds)
  })

  test('scheduled jobs pass max_pending but not max_stored', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_pending: 1, max_stored: 3 }
    const later = () => aJob({ run_at: T0 + 60_000 })
    await store.submit([aJob()], bounds)
    await store.submit([later()], bounds)
    // Promotions and reruns may have carried the queue above its bound.
    await store.submit([later()], { ...bounds, max_pending: 0 })
    await expect(store.submit([later()], bounds)).rejects.toMatchObject({ code: 'queue_full' })
    expect((await store.list({}, 10, null)).jobs).toHaveLength(3)
  })

  test('a submission that does not fit under max_stored whole is refused whole, and a smaller one still fits', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_pending: 100, max_stored: 3 }
    const later = () => aJob({ run_at: T0 + 60_000 })
    await store.submit([aJob(), later()], bounds)
    for (const two of [
      [aJob(), aJob()],
      [later(), later()],
    ]) {
      await expect(store.submit(two, bounds)).rejects.toMatchObject({ code: 'queue_full' })
    }
    await store.submit([later()], bounds)
    expect((await store.list({}, 10, null)).jobs).toHaveLength(3)
  })

  test('max_stored counts all that are not final, and none that are', async () => {
    const the = await stage()
    const bounds = { ...NO_BOUNDS, max_pending: 100, max_stored: 3 }
    const retrying = await the.running()
    await the.end(retrying, { verb: 'retry', error: { code: 'timeout', message: 'slow', attempt: 1 }, delay: 60_000 })
    await the.running()
    await the.store.cancel((await the.add()).id, 'not wanted', T0)
    await the.store.submit([aJob()], bounds)
    await expect(the.store.submit([aJob()], bounds)).rejects.toMatchObject({ code: 'queue_full' })
    await the.store.cancel(retrying.id, 'not wanted', T0)
    await the.store.submit([aJob()], bounds)
  })

  test('a submission that takes the kept bytes up to max_bytes is accepted, one byte more is refused', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_bytes: 30 }
    await store.submit([sized(10)], bounds)
    await store.submit([sized(10, { type: 'b', run_at: T0 + 60_000 })], bounds)
    await expect(store.submit([sized(11)], bounds)).rejects.toMatchObject({ code: 'storage_full' })
    await expect(store.submit([sized(1), sized(10)], bounds)).rejects.toMatchObject({ code: 'storage_full' })
    expect((await store.list({}, 10, null)).jobs).toHaveLength(2)
    await store.submit([sized(4), sized(6)], bounds)
    await expect(store.submit([sized(1)], bounds)).rejects.toMatchObject({
      code: 'storage_full',
      message: expect.stringContaining('data.max_bytes'),
    })
    expect((await store.list({}, 10, null)).jobs).toHaveLength(4)
  })

  test('of many submissions at once no more are accepted than max_bytes holds', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_bytes: 205 }
    const answers = await Promise.allSettled(Array.from({ length: 50 }, () => store.submit([sized(10)], bounds)))
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(20)
    expect((await store.list({}, 100, null)).jobs).toHaveLength(20)
  })

  test('max_bytes counts bytes of UTF-8, results, artifacts and final jobs', async () => {
    const the = await stage()
    const running = await the.running({ payload: '"ü"' })
    const artifacts = [{ name: 'a', bytes: 50, content_type: 'text/plain' }]
    await the.end(running, { verb: 'complete', result: '"ö"', artifacts })
    await expect(the.store.submit([sized(2)], { ...NO_BOUNDS, max_bytes: 59 })).rejects.toMatchObject({
      code: 'storage_full',
    })
    await the.store.submit([sized(2)], { ...NO_BOUNDS, max_bytes: 60 })
  })

  test('what is removed or pruned makes room under max_bytes, a cancel does not', async () => {
    const the = await stage()
    const bounds = { ...NO_BOUNDS, max_bytes: 20 }
    const jobs = [sized(10), sized(10)]
    await the.store.submit(jobs, bounds)
    for (const { id } of jobs) await the.store.cancel(id, 'not wanted', T0)
    await expect(the.store.submit([sized(1)], bounds)).rejects.toMatchObject({ code: 'storage_full' })
    await the.store.remove(jobs[0]?.id as string)
    await the.store.submit([sized(10)], bounds)
    await expect(the.store.submit([sized(10)], bounds)).rejects.toMatchObject({ code: 'storage_full' })
    const all = { types: { except: [] }, finished_before: T0 + 1, max_count: null, max_bytes: null, limit: 10 }
    expect((await the.store.prune({ ...all, status: ['cancelled'] })).ids).toEqual([jobs[1]?.id])
    await the.store.submit([sized(10)], bounds)
  })
  test('a job that waits for nothing any more counts against the bounds as one that is pending', async () => {
    const the = await stage()
    const [done, failed] = [await the.running(), await the.running()]
    await the.end(done, complete)
    await the.end(failed, { verb: 'fail', error: anError() })
    const bounds = { ...NO_BOUNDS, max_pending: 1 }
    const submit = (submission: Partial<Submission>) => the.store.submit([aJob(submission, T0 + 20)], bounds)
    await submit({ depends_on: [done.id] })
    await expect(submit({ depends_on: [done.id] })).rejects.toMatchObject({ code: 'queue_full' })
    const run = { depends_on: [failed.id], on_dependency_failure: 'run' } as const
    await expect(submit(run)).rejects.toMatchObject({ code: 'queue_full' })
    // It fails at once, or runs later: neither is pending.
    expect(await submit({ depends_on: [failed.id] })).toMatchObject([{ job: { status: 'failed' } }])
    expect(await submit({ depends_on: [done.id], run_at: T0 + 99_999 })).toMatchObject([
      { job: { status: 'scheduled' } },
    ])
  })
}

/** A job of so many bytes. */
const sized = (bytes: number, submission: Partial<Submission> = {}) =>
  aJob({ ...submission, payload: '1'.repeat(bytes) })
