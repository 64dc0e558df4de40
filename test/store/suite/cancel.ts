// Cancel beats every other end of a run, also after a crash; rerun brings a final job back.
import { expect, test } from 'vitest'
import type { Step } from '../../../src/job.js'
import { anError, complete, expectStored, RULES, type Stage, T0 } from './stage.js'

const NOBODY = '00000000-0000-7000-8000-000000000000'
const retry: Step = { verb: 'retry', error: anError(), delay: 100 }
const OTHER_ENDS: [string, Step][] = [
  ['complete', complete],
  ['retry', retry],
  ['fail', { verb: 'fail', error: anError() }],
  ['release', { verb: 'release', detail: 'shutdown' }],
]

export function cancelling(stage: () => Promise<Stage>): void {
  test('a job that does not run is cancelled at once', async () => {
    const the = await stage()
    const retrying = await the.running()
    await the.end(retrying, retry)
    const jobs = [await the.add(), await the.add({ run_at: T0 + 1_000 }), retrying]
    for (const { id } of jobs) {
      const cancelled = await the.store.cancel(id, 'not wanted any more', T0 + 20)
      expect(cancelled?.answer).toBe('cancelled')
      expect(cancelled?.job).toMatchObject({ id, status: 'cancelled', finished_at: T0 + 20, run_at: null })
      expect(cancelled?.job).toMatchObject({ reason: 'cancelled', reason_detail: 'not wanted any more' })
      await expectStored(the.store, cancelled?.job)
    }
    expect(await the.claim([1, 2, 3], { types: jobs.map(({ type }) => type), at: T0 + 5_000 })).toEqual([])
  })

  test('the request to cancel a running job is stored, and it runs on', async () => {
    const the = await stage()
    const job = await the.running()
    const asked = await the.store.cancel(job.id, 'not wanted any more', T0 + 5)
    expect(asked?.answer).toBe('requested')
    expect(asked?.job).toMatchObject({ status: 'processing', cancel_requested_at: T0 + 5, updated_at: T0 + 5 })
    expect(asked?.job).toMatchObject({ reason: 'cancel_requested', reason_detail: 'not wanted any more' })
    await expectStored(the.store, asked?.job)
    const again = await the.store.cancel(job.id, 'said again', T0 + 7)
    expect(again).toEqual(asked)
    await expectStored(the.store, asked?.job)
  })

  for (const [status, step] of [
    ['completed', complete],
    ['failed', { verb: 'fail', error: anError() }],
    ['cancelled', { verb: 'cancel' }],
  ] as [string, Step][]) {
    test(`a ${status} job stays as it is`, async () => {
      const the = await stage()
      const job = await the.end(await the.running(), step)
      const answer = await the.store.cancel((job as { id: string }).id, 'too late', T0 + 20)
      expect(answer).toEqual({ job, answer: 'final', unblocked: [] })
      await expectStored(the.store, job)
    })
  }

  test('a job that is not there is answered with null', async () => {
    const { store } = await stage()
    expect(await store.cancel(NOBODY, 'not wanted', T0)).toBeNull()
    expect(await store.rerun(NOBODY, T0)).toBeNull()
  })

  for (const [name, step] of [...OTHER_ENDS, ['cancel', { verb: 'cancel' }] as [string, Step]]) {
    test(`a stored cancel request beats ${name}`, async () => {
      const the = await stage()
      const job = await the.running()
      await the.store.cancel(job.id, 'not wanted any more', T0 + 5)
      const after = await the.end(job, step)
      expect(after).toMatchObject({ status: 'cancelled', reason: 'cancelled', result: null, finished_at: T0 + 10 })
      expect(after).toMatchObject({ run_at: null, reason_detail: 'not wanted any more' })
      await expectStored(the.store, after)
      expect(await the.store.attempts(job.id)).toMatchObject([{ outcome: 'cancel', error: null }])
    })

    test(`a stored cancel request beats ${name} of the same turn`, async () => {
      const the = await stage()
      const job = await the.running()
      const asked = the.store.cancel(job.id, 'not wanted any more', T0 + 5)
      const ended = the.end(job, step)
      expect((await asked)?.answer).toBe('requested')
      expect(await ended).toMatchObject({ status: 'cancelled' })
    })
  }

  test('a stored cancel request beats the rescue after a crash', async () => {
    const the = await stage()
    const job = await the.running()
    await the.store.cancel(job.id, 'not wanted any more', T0 + 5)
    await the.crash()
    const { rescued } = await the.store.tick({ node: the.node, now: T0 + 50 })
    expect(rescued).toMatchObject([{ id: job.id, status: 'cancelled', interruptions: 0, finished_at: T0 + 50 }])
    await expectStored(the.store, rescued[0])
    expect(await the.claim([1], { types: [job.type], at: T0 + 60 })).toEqual([])
  })

  test('a running job cannot be rerun, not even one that is asked to stop', async () => {
    const the = await stage()
    const job = await the.running()
    expect(await the.store.rerun(job.id, T0 + 3)).toMatchObject({ changed: false, job: { status: 'processing' } })
    const asked = await the.store.cancel(job.id, 'not wanted any more', T0 + 5)
    expect(await the.store.rerun(job.id, T0 + 6)).toEqual({ changed: false, job: asked?.job })
    await expectStored(the.store, asked?.job)
  })

  test('a job that is not final is left as it is by a rerun', async () => {
    const the = await stage()
    const [pending, scheduled] = [await the.add(), await the.add({ run_at: T0 + 1_000 })]
    for (const job of [pending, scheduled]) {
      expect(await the.store.rerun(job.id, T0 + 3)).toMatchObject({ changed: false, job: { status: job.status } })
      expect(await the.store.get(job.id)).toEqual(job)
    }
  })

  for (const [name, step] of [...OTHER_ENDS.filter(([, { verb }]) => verb === 'complete' || verb === 'fail')]) {
    test(`a rerun after ${name} begins from nothing, except that the run goes on counting`, async () => {
      const the = await stage()
      const job = await the.running({ type: 'a' })
      await the.end(job, step)
      const again = await the.store.rerun(job.id, T0 + 100)
      expect(again?.changed).toBe(true)
      expect(again?.job).toMatchObject({ status: 'pending', attempt: 0, run: 1, interruptions: 0, progress: 0 })
      expect(again?.job).toMatchObject({ result: null, error: null, started_at: null, finished_at: null, node: null })
      expect(again?.job.rank).toBe(T0 + 100 + 2 * RULES.priority_aging)
      await expectStored(the.store, again?.job)
      expect(await the.claim([1], { at: T0 + 110 })).toMatchObject([{ id: job.id, attempt: 1, run: 2 }])
    })
  }

  test('a rerun of a cancelled job runs to its end', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    await the.store.cancel(job.id, 'not wanted any more', T0 + 5)
    await the.end(job, complete)
    expect(await the.store.rerun(job.id, T0 + 20)).toMatchObject({
      job: { status: 'pending', cancel_requested_at: null },
    })
    const [again] = await the.claim([1], { at: T0 + 30 })
    expect(await the.end(again as never, complete)).toMatchObject({ status: 'completed', result: '{"rows":3}', run: 2 })
  })
}
