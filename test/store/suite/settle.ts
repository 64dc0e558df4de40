// Runs under way and how they end: the fence on (id, run) lets nobody else's outcome in.
import { expect, test } from 'vitest'
import type { Job, JobWithPayload, Step } from '../../../src/job.js'
import { anError, complete, expectStored, type Stage, T0 } from './stage.js'

const ENDS: [string, Step, Partial<Job>][] = [
  [
    'complete',
    complete,
    { status: 'completed', progress: 100, result: '{"rows":3}', error: null, finished_at: T0 + 10 },
  ],
  [
    'complete without a result',
    { verb: 'complete', result: null, artifacts: [] },
    { status: 'completed', result: null },
  ],
  [
    'retry',
    { verb: 'retry', error: anError(), delay: 90 },
    { status: 'retrying', run_at: T0 + 100, finished_at: null },
  ],
  ['fail', { verb: 'fail', error: anError() }, { status: 'failed', error: anError(), finished_at: T0 + 10 }],
  [
    'release',
    { verb: 'release', detail: 'shutdown' },
    { status: 'pending', attempt: 0, run: 1, node: null, slot: null },
  ],
  ['cancel', { verb: 'cancel' }, { status: 'cancelled', finished_at: T0 + 10 }],
]

export function settling(stage: () => Promise<Stage>): void {
  test('progress of a running job is stored', async () => {
    const the = await stage()
    const job = await the.running()
    expect(await the.store.renew([{ id: job.id, run: 1, progress: 40, note: 'row 4 of 10', at: T0 + 3 }])).toEqual({
      lost: [],
      cancel_requested: [],
    })
    expect(await the.store.get(job.id)).toEqual({
      ...job,
      progress: 40,
      progress_note: 'row 4 of 10',
      updated_at: T0 + 3,
    })
  })

  test('progress of a run that is not this one is lost, and named', async () => {
    const the = await stage()
    const [running, ended, released] = [await the.running(), await the.running(), await the.running({ type: 'r' })]
    await the.end(ended, complete)
    await the.end(released, { verb: 'release', detail: 'shutdown' })
    await the.claim([2], { types: ['r'] })
    const before = (await the.store.list({}, 10, null)).jobs
    const report = (id: string, run: number) => ({ id, run, progress: 77, note: 'late', at: T0 + 99 })
    const none = '00000000-0000-7000-8000-000000000000'
    const reports = [report(ended.id, 1), report(released.id, 1), report(running.id, 2), report(none, 1)]
    expect(await the.store.renew(reports)).toEqual({
      lost: [ended.id, released.id, running.id, none],
      cancel_requested: [],
    })
    expect((await the.store.list({}, 10, null)).jobs).toEqual(before)
  })

  test('a lost one does not keep the progress of others out', async () => {
    const the = await stage()
    const [one, two] = [await the.running(), await the.running()]
    const report = { progress: 5, note: null, at: T0 + 1 }
    const reports = [
      { ...report, id: one.id, run: 9 },
      { ...report, id: two.id, run: 1 },
    ]
    expect(await the.store.renew(reports)).toEqual({ lost: [one.id], cancel_requested: [] })
    expect(await the.store.get(two.id)).toMatchObject({ progress: 5 })
  })

  for (const [name, step, expected] of ENDS) {
    test(`${name} of a run that told of its progress is told as it is stored`, async () => {
      const the = await stage()
      const job = await the.running()
      await the.store.renew([{ id: job.id, run: job.run, progress: 40, note: 'half way', at: T0 + 5 }])
      const after = await the.end(job, step)
      expect(after).toMatchObject(expected)
      await expectStored(the.store, after)
    })

    test(`${name} ends a run`, async () => {
      const the = await stage()
      const job = await the.running()
      const after = await the.end(job, step)
      expect(after).toMatchObject({ id: job.id, run: 1, updated_at: T0 + 10, ...expected })
      expect(after).not.toHaveProperty('payload')
      await expectStored(the.store, after)
    })

    test(`${name} that comes twice changes nothing the second time`, async () => {
      const the = await stage()
      const job = await the.running()
      const after = await the.end(job, step)
      expect(await the.end(job, step, T0 + 999)).toBeNull()
      await expectStored(the.store, after)
    })

    test(`${name} of an earlier run changes nothing in the next one`, async () => {
      const the = await stage()
      const first = await the.running({ type: 'a' })
      await the.end(first, { verb: 'release', detail: 'shutdown' })
      const [second] = (await the.claim([3], { at: T0 + 20 })) as [JobWithPayload]
      expect(await the.end(first, step, T0 + 30)).toBeNull()
      expect(await the.store.get(first.id)).toEqual(second)
      expect(await the.end(second, complete, T0 + 40)).toMatchObject({ status: 'completed', run: 2 })
    })
  }

  test('an outcome with a run of the future, of no job, or of a job that does not run changes nothing', async () => {
    const the = await stage()
    const [running, pending] = [await the.running(), await the.add()]
    const endings = [
      { id: running.id, run: 2, step: complete, now: T0 + 1 },
      { id: '00000000-0000-7000-8000-000000000000', run: 1, step: complete, now: T0 + 1 },
      { id: pending.id, run: 0, step: complete, now: T0 + 1 },
    ]
    expect((await the.store.settle(endings)).ended).toEqual([null, null, null])
    expect(await the.store.get(running.id)).toEqual(running)
    expect(await the.store.get(pending.id)).toEqual(pending)
  })

  test('outcomes of one batch are answered each in its place', async () => {
    const the = await stage()
    const [a, b, c] = [await the.running(), await the.running(), await the.running()]
    const at = { run: 1, now: T0 + 10 }
    const answers = (
      await the.store.settle([
        { ...at, id: c.id, step: complete },
        { ...at, id: a.id, run: 7, step: complete },
        { ...at, id: b.id, step: { verb: 'fail', error: anError() } },
        { ...at, id: c.id, step: { verb: 'fail', error: anError() } },
        { ...at, id: a.id, step: { verb: 'release', detail: 'shutdown' } },
      ])
    ).ended
    expect(answers.map((job) => job && [job.id, job.status])).toEqual([
      [c.id, 'completed'],
      null,
      [b.id, 'failed'],
      null,
      [a.id, 'pending'],
    ])
    expect((await the.store.settle([])).ended).toEqual([])
  })

  test('of parallel outcomes of one run the first is taken', async () => {
    const the = await stage()
    const { id } = await the.running()
    const settle = (result: string) =>
      the.store.settle([{ id, run: 1, step: { verb: 'complete', result, artifacts: [] }, now: T0 + 10 }])
    const answers = (await Promise.all(['1', '2', '3', '4'].map(settle))).flatMap(({ ended }) => ended)
    const taken = answers.filter((job) => job !== null)
    expect(taken).toHaveLength(1)
    expect(await the.store.get(id)).toMatchObject({ result: taken[0]?.result })
  })

  test('a retry ranks by its due time', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a', priority: 1 })
    await the.end(job, { verb: 'retry', error: anError(), delay: 40 }, T0 + 10)
    const before = await the.add({ priority: 1 }, T0 + 49)
    expect((await the.claim([1, 2], { at: T0 + 50 })).map(({ id }) => id)).toEqual([before.id, job.id])
  })

  test('a released job keeps its rank', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    const younger = await the.add({}, T0 + 1)
    expect(await the.end(job, { verb: 'release', detail: 'shutdown' }, T0 + 50)).toMatchObject({ rank: job.rank })
    expect((await the.claim([1, 2], { at: T0 + 60 })).map(({ id }) => id)).toEqual([job.id, younger.id])
  })

  test('a delay that is no whole number, or endless, is stored as the nearest one that is', async () => {
    const the = await stage()
    for (const delay of [0.4, 1234.56, Number.POSITIVE_INFINITY, 1e300, Number.NaN, -5]) {
      const after = await the.end(await the.running(), { verb: 'retry', error: anError(), delay })
      expect(Number.isSafeInteger(after?.run_at)).toBe(true)
      await expectStored(the.store, after)
    }
  })

  test('renew names running jobs whose cancel was asked for', async () => {
    const the = await stage()
    const [kept, asked] = [await the.running(), await the.running()]
    await the.store.cancel(asked.id, 'no', T0 + 5)
    const reports = [kept, asked].map(({ id }) => ({ id, run: 1, progress: 40, note: null, at: T0 + 10 }))
    expect(await the.store.renew(reports)).toEqual({ lost: [], cancel_requested: [asked.id] })
  })
}
