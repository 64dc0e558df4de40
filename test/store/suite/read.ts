// Reads: one job, lists with filters and a cursor, and the runs of a job.
import { expect, test } from 'vitest'
import { JOB_STATUSES, type Job, type JobStatus, type JobWithPayload } from '../../../src/job.js'
import type { JobFilter, Store } from '../../../src/store/store.js'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

const NOBODY = '00000000-0000-7000-8000-000000000000'

export function reading(stage: () => Promise<Stage>): void {
  test('what is not there is answered with null, or with nothing', async () => {
    const { store } = await stage()
    expect(await store.get(NOBODY)).toBeNull()
    expect((await store.list({}, 10, null)).jobs).toEqual([])
    expect(await store.attempts(NOBODY)).toEqual([])
    expect(await store.counts()).toEqual({})
  })

  test('the name of the service stays what it is, is the same on all nodes, and no other database has it', async () => {
    const the = await stage()
    const { service } = the.store
    expect(service).toMatch(/^[0-9a-f-]{32,36}$/)
    expect(new Set((await the.stores()).map((store) => store.service))).toEqual(new Set([service]))
    await the.reopen()
    expect(the.store.service).toBe(service)
    expect((await stage()).store.service).not.toBe(service)
  })

  test('a list shows jobs newest first, without their payloads', async () => {
    const the = await stage()
    const jobs = [await the.add(), await the.add({ type: 'b' }), await the.add({ run_at: T0 + 1_000 })]
    const listed = (await the.store.list({}, 10, null)).jobs
    expect(listed).toEqual(jobs.toReversed().map(withoutPayload))
    expect(ids((await the.store.list({}, 2, null)).jobs)).toEqual(ids(jobs.toReversed().slice(0, 2)))
  })

  test('filters by statuses, by type and by both show what fits, newest first', async () => {
    const the = await stage()
    const jobs = await manyStatuses(the)
    const statuses: (JobStatus[] | undefined)[] = [undefined, [], ...JOB_STATUSES.map((status) => [status])]
    statuses.push(['pending', 'completed'], ['retrying', 'processing', 'failed'], [...JOB_STATUSES])
    for (const status of statuses) {
      for (const type of [undefined, 'a', 'b', 'nothing']) {
        const fits = (job: Job) => (status?.includes(job.status) ?? true) && (type === undefined || job.type === type)
        const expected = ids(jobs.filter(fits)).toReversed()
        expect(ids((await the.store.list({ status, type }, 100, null)).jobs), `${status} of ${type}`).toEqual(expected)
        expect(await pagesOf(the.store, { status, type }, 2), `pages: ${status} of ${type}`).toEqual(expected)
      }
    }
  })

  test('a cursor of a job that is gone, or never was, is as good as any', async () => {
    const the = await stage()
    const [one, between, two] = [aJob(), aJob(), aJob()]
    await the.store.submit([one, two], NO_BOUNDS)
    expect(ids((await the.store.list({}, 10, between.id)).jobs)).toEqual([one.id])
    expect(ids((await the.store.list({ type: 'a' }, 10, between.id)).jobs)).toEqual([one.id])
  })

  test('pages show no job twice and miss none that was there all along, while others come and change', async () => {
    const the = await stage()
    const jobs = Array.from({ length: 30 }, () => aJob({ type: 'a' }))
    await the.store.submit(jobs, NO_BOUNDS)
    for (const filter of [{}, { type: 'a' }, { status: ['pending', 'cancelled'] }] as JobFilter[]) {
      const seen: string[] = []
      for (let before: string | null = null; ; ) {
        const page = (await the.store.list(filter, 4, before)).jobs
        if (page.length === 0) break
        seen.push(...ids(page))
        before = seen.at(-1) as string
        await the.add({ type: 'a' })
        const first_left = (await the.store.list({ status: ['pending'] }, 100, null)).jobs.at(0)
        if (first_left !== undefined) await the.store.cancel(first_left.id, 'not wanted', T0 + 1)
      }
      expect(new Set(seen).size).toBe(seen.length)
      expect(seen.slice(-30)).toEqual(ids(jobs).toReversed())
    }
  })

  test('a job has a row for each run, with how it ended and why', async () => {
    const the = await stage()
    const first = await the.running({ type: 'a' })
    expect(await the.store.attempts(first.id)).toEqual([
      {
        run: 1,
        attempt: 1,
        node: the.node,
        slot: 1,
        started_at: T0,
        ...{ finished_at: null, outcome: null, reason: null, reason_detail: null, error: null },
      },
    ])
    await the.end(first, { verb: 'retry', error: anError(), delay: 10 }, T0 + 10)
    const [second] = (await the.claim([2], { at: T0 + 20 })) as [JobWithPayload]
    await the.end(second, { verb: 'release', detail: 'shutdown' }, T0 + 30)
    const dead = the.node
    await the.claim([3], { at: T0 + 40 })
    await the.crash()
    await the.store.tick({ node: the.node, now: T0 + 50 })
    const [fourth] = (await the.claim([4], { at: T0 + 60 })) as [JobWithPayload]
    const error = anError({ code: 'timeout', attempt: 2, stack: 'Error: timeout' })
    await the.end(fourth, { verb: 'fail', error }, T0 + 70)
    await the.store.rerun(first.id, T0 + 80)
    const [fifth] = (await the.claim([5], { at: T0 + 90 })) as [JobWithPayload]
    await the.end(fifth, complete, T0 + 100)
    const row = (run: number, attempt: number, node: string, begun: number) =>
      ({ run, attempt, node, slot: run, started_at: T0 + begun, finished_at: T0 + begun + 10 }) as const
    expect(await the.store.attempts(first.id)).toMatchObject([
      { ...row(1, 1, dead, 0), outcome: 'retry', reason: 'handler_error', error: anError() },
      { ...row(2, 2, dead, 20), outcome: 'release', reason: 'released', error: null },
      { ...row(3, 2, dead, 40), outcome: 'rescue', reason: 'rescued', error: null },
      { ...row(4, 2, the.node, 60), outcome: 'fail', reason: 'timeout', error },
      { ...row(5, 1, the.node, 90), outcome: 'complete', reason: 'completed', error: null },
    ])
    const sentences = (await the.store.attempts(first.id)).map(({ reason_detail }) => reason_detail)
    expect(sentences).toEqual([
      expect.stringMatching(/^attempt 1 of 4 failed \(no luck\); next one at 20/),
      'shutdown',
      `the node that ran it (${dead}) is gone`,
      'failed at attempt 2 of 4: no luck',
      'the handler returned',
    ])
  })

  test('a run that was cancelled does not carry the error of the one before', async () => {
    const the = await stage()
    const first = await the.running({ type: 'a' })
    await the.end(first, { verb: 'retry', error: anError(), delay: 10 }, T0 + 10)
    const [second] = (await the.claim([1], { at: T0 + 20 })) as [JobWithPayload]
    await the.end(second, { verb: 'cancel' }, T0 + 30)
    expect(await the.store.attempts(first.id)).toMatchObject([{ error: anError() }, { outcome: 'cancel', error: null }])
  })

  test('a late outcome leaves the rows of the runs as they are', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    await the.end(job, { verb: 'release', detail: 'shutdown' }, T0 + 10)
    await the.claim([1], { at: T0 + 20 })
    const before = await the.store.attempts(job.id)
    await the.end(job, { verb: 'fail', error: anError() }, T0 + 30)
    expect(await the.store.attempts(job.id)).toEqual(before)
  })

  test('the latest 100 runs of a job are kept', async () => {
    const the = await stage()
    const [{ id }, other] = [await the.add(), await the.running()]
    for (let run = 1; run <= 103; run += 1) {
      const [job] = await the.claim([1])
      expect(job).toMatchObject({ id, run })
      await the.end(job as never, { verb: 'release', detail: 'shutdown' })
    }
    const kept = (await the.store.attempts(id)).map(({ run }) => run)
    expect(kept).toEqual(Array.from({ length: 100 }, (_, i) => i + 4))
    expect(await the.store.attempts(other.id)).toHaveLength(1)
  })
}

/** Jobs of two types in every status that the verbs lead to, oldest first, as they are now. */
async function manyStatuses(the: Stage): Promise<Job[]> {
  const all: string[] = []
  for (const type of ['a', 'b', 'a']) {
    for (const step of [
      complete,
      { verb: 'fail', error: anError() },
      { verb: 'retry', error: anError(), delay: 1_000 },
      { verb: 'cancel' },
      null,
    ] as const) {
      const job = await the.running({ type })
      if (step !== null) await the.end(job, step)
      all.push(job.id)
    }
    all.push((await the.add({ type, run_at: T0 + 9_000 })).id)
  }
  for (const type of ['b', 'a', 'a']) all.push((await the.add({ type })).id)
  return Promise.all(all.map(async (id) => (await the.store.get(id)) as Job))
}

async function pagesOf(store: Store, filter: JobFilter, size: number): Promise<string[]> {
  const seen: string[] = []
  for (let before: string | null = null; ; before = seen.at(-1) as string) {
    const page = (await store.list(filter, size, before)).jobs
    expect(page.length).toBeLessThanOrEqual(size)
    seen.push(...ids(page))
    if (page.length < size) return seen
  }
}

function withoutPayload({ payload, ...job }: JobWithPayload): Job {
  return job
}
