// Counts that are kept instead of counted, and a close that loses nothing.
import { expect, test } from 'vitest'
import { aJob, anError, complete, expectCountsToFit, NO_BOUNDS, type Stage, T0 } from './stage.js'

export function counting(stage: () => Promise<Stage>): void {
  test('counts follow each verb', async () => {
    const the = await stage()
    const expectCounts = async (now: object, ever: object) => {
      const counts = (await the.store.counts()).a
      expect(
        Object.entries(counts?.now ?? {})
          .filter(([, n]) => n !== 0)
          .sort(),
      ).toEqual(Object.entries(now).sort())
      expect(counts?.ever).toEqual(ever)
      await expectCountsToFit(the.store)
    }
    await the.add()
    await the.add({ run_at: T0 + 1_000 })
    await expectCounts({ pending: 1, scheduled: 1 }, {})
    const [job] = await the.claim([1])
    await expectCounts({ processing: 1, scheduled: 1 }, {})
    await the.store.renew([{ id: job?.id as string, run: 1, progress: 5, note: null, at: T0 }])
    await the.store.cancel(job?.id as string, 'not wanted', T0)
    await expectCounts({ processing: 1, scheduled: 1 }, {})
    await the.end(job as never, complete)
    await expectCounts({ cancelled: 1, scheduled: 1 }, { cancelled: 1 })
    await the.store.rerun(job?.id as string, T0)
    await expectCounts({ pending: 1, scheduled: 1 }, { cancelled: 1 })
    const [again] = await the.claim([1])
    await the.end(again as never, { verb: 'retry', error: anError(), delay: 10 })
    await expectCounts({ retrying: 1, scheduled: 1 }, { cancelled: 1 })
    await the.store.tick({ node: the.node, now: T0 + 5_000 })
    await expectCounts({ pending: 2 }, { cancelled: 1 })
    for (const last of await the.claim([1, 2])) await the.end(last, complete)
    await expectCounts({ completed: 2 }, { cancelled: 1, completed: 2 })
  })

  test('what ever ended is not lowered by reruns, and counts each end of a job', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    await the.end(job, complete)
    for (const step of [complete, { verb: 'fail', error: anError() }, complete] as const) {
      await the.store.rerun(job.id, T0)
      const [again] = await the.claim([1])
      await the.end(again as never, step)
    }
    expect(await the.store.counts()).toMatchObject({ a: { now: { completed: 1 }, ever: { completed: 3, failed: 1 } } })
  })

  test('what was refused or came late is not counted', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    await the.end(job, complete)
    await the.end(job, complete)
    await the.end(job, { verb: 'fail', error: anError() })
    await expect(the.store.submit([aJob(), job], NO_BOUNDS)).rejects.toThrow()
    await expect(the.store.submit([aJob()], { ...NO_BOUNDS, max_pending: 0 })).rejects.toThrow()
    expect(await the.store.counts()).toMatchObject({ a: { ever: { completed: 1 } } })
    expect((await the.store.counts()).a?.ever).toEqual({ completed: 1 })
    await expectCountsToFit(the.store)
  })

  test('counts of what is and of what ever ended survive a crash', async () => {
    const the = await stage()
    const [job, failing] = [await the.running({ type: 'a' }), await the.running({ type: 'b' })]
    await the.end(job, complete)
    await the.end(failing, { verb: 'fail', error: anError() })
    await the.store.rerun(job.id, T0 + 20)
    await the.running({ type: 'c' })
    const before = await the.store.counts()
    expect(before).toMatchObject({ a: { now: { pending: 1 }, ever: { completed: 1 } }, b: { ever: { failed: 1 } } })
    await the.crash()
    expect(await the.store.counts()).toEqual(before)
  })

  test('close commits what was asked for before', async () => {
    const the = await stage()
    const running = await the.running()
    const jobs = Array.from({ length: 20 }, () => aJob())
    const asked = [...jobs.map((job) => the.store.submit([job], NO_BOUNDS)), the.end(running, complete)]
    await the.reopen()
    expect((await Promise.allSettled(asked)).map(({ status }) => status)).not.toContain('rejected')
    for (const job of jobs) expect(await the.store.get(job.id)).toEqual(job)
    expect(await the.store.get(running.id)).toMatchObject({ status: 'completed' })
  })

  test('close may be called twice', async () => {
    const the = await stage()
    const job = await the.add()
    await Promise.all([the.store.close(), the.store.close()])
    await the.store.close()
    await the.reopen()
    expect(await the.store.get(job.id)).toEqual(job)
  })

  test('a healthy store reports no failure', async () => {
    const { store } = await stage()
    expect(store.failure()).toBeNull()
  })
}
