// Final jobs that go: too old, too many, too large, or asked for; and reading all jobs in pieces.
import { expect, test } from 'vitest'
import type { Job, JobWithPayload, Step } from '../../../src/job.js'
import type { PruneRequest, ScanFilter, Store } from '../../../src/store/store.js'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

const ALL: PruneRequest = {
  status: ['completed', 'failed', 'cancelled'],
  types: { except: [] },
  finished_before: null,
  max_count: null,
  max_bytes: null,
  limit: 100,
}

export function pruning(stage: () => Promise<Stage>): void {
  /** `n` completed jobs of a type, ended at T0 + 10, T0 + 20, … */
  async function completed(the: Stage, n: number, type = 'a', step: Step = complete): Promise<JobWithPayload[]> {
    const jobs = Array.from({ length: n }, () => aJob({ type }))
    await the.store.submit(jobs, NO_BOUNDS)
    const claimed = await the.claim(
      jobs.map((_, slot) => slot),
      { types: [type] },
    )
    for (const [i, job] of claimed.entries()) await the.end(job, step, T0 + 10 * (i + 1))
    return claimed
  }

  test('prune deletes those that ended before, oldest end first, and says what they took', async () => {
    const the = await stage()
    const jobs = await completed(the, 5)
    const bytes = (await the.store.get((jobs[0] as Job).id))?.bytes as number
    const pruned = await the.store.prune({ ...ALL, finished_before: T0 + 40 })
    expect(pruned).toEqual({ ids: ids(jobs.slice(0, 3)), bytes: 3 * bytes, artifacts: [], more: expect.any(Boolean) })
    expect(await the.store.prune({ ...ALL, finished_before: T0 + 40 })).toMatchObject({ ids: [], more: false })
    expect(ids((await the.store.list({}, 10, null)).jobs).toReversed()).toEqual(ids(jobs.slice(3)))
    for (const { id } of jobs.slice(0, 3)) {
      expect(await the.store.get(id)).toBeNull()
      expect(await the.store.attempts(id)).toEqual([])
    }
    expect((await the.store.counts()).a).toMatchObject({ now: { completed: 2 }, ever: { completed: 5 } })
  })

  test('prune leaves all that is not final, however old', async () => {
    const the = await stage()
    const jobs = [aJob(), aJob({ run_at: T0 + 1_000 }), aJob({ type: 'b' })]
    await the.store.submit(jobs, NO_BOUNDS)
    await the.claim([1], { types: ['b'] })
    const retried = await the.running({ type: 'r' })
    await the.end(retried, { verb: 'retry', error: anError(), delay: 1_000 })
    expect(await the.store.prune({ ...ALL, finished_before: T0 * 2, max_count: 0, max_bytes: 0 })).toMatchObject({
      ids: [],
      more: false,
    })
  })

  test('prune keeps the newest max_count of all types together', async () => {
    const the = await stage()
    const a = await completed(the, 3, 'a')
    const b = await completed(the, 3, 'b')
    await the.store.prune({ ...ALL, max_count: 2 })
    const kept = [a[2], b[2]] as Job[]
    expect(ids((await the.store.list({}, 10, null)).jobs).sort()).toEqual(ids(kept).sort())
  })

  test('prune keeps no more than max_bytes of payloads, results and artifacts', async () => {
    const the = await stage()
    const artifacts = [{ name: 'x', bytes: 1_000, content_type: 'text/plain' }]
    const jobs = await completed(the, 4, 'a', { verb: 'complete', result: null, artifacts })
    const each = (await the.store.get((jobs[0] as Job).id))?.bytes as number
    expect(each).toBe(1_000 + '{"n":1}'.length)
    const { bytes } = (await the.store.counts()).a as { bytes: number }
    expect(bytes).toBe(4 * each)
    const pruned = await the.store.prune({ ...ALL, max_bytes: 2 * each + 1 })
    expect(pruned).toMatchObject({ ids: ids(jobs.slice(0, 2)), bytes: 2 * each })
    expect(pruned.artifacts).toEqual(jobs.slice(0, 2).map(({ id, run }) => ({ id, run })))
  })

  test('prune looks at the statuses and types that it is told, and at no others', async () => {
    const the = await stage()
    const a = await completed(the, 1, 'a')
    const b = await completed(the, 1, 'b')
    const failed = await completed(the, 1, 'c', { verb: 'fail', error: anError() })
    const before = { finished_before: T0 + 1_000 }
    expect((await the.store.prune({ ...ALL, ...before, status: ['cancelled'] })).ids).toEqual([])
    expect((await the.store.prune({ ...ALL, ...before, types: { only: ['b'] } })).ids).toEqual(ids(b))
    expect((await the.store.prune({ ...ALL, ...before, types: { except: ['c'] } })).ids).toEqual(ids(a))
    expect((await the.store.prune({ ...ALL, ...before, status: ['failed'] })).ids).toEqual(ids(failed))
  })

  test('prune takes no more than its limit at a time, and says that there is more', async () => {
    const the = await stage()
    const jobs = await completed(the, 7)
    const first = await the.store.prune({ ...ALL, finished_before: T0 + 1_000, limit: 3 })
    expect([first.ids, first.more]).toEqual([ids(jobs.slice(0, 3)), true])
    let rounds = 0
    while ((await the.store.prune({ ...ALL, finished_before: T0 + 1_000, limit: 3 })).more && rounds < 9) rounds += 1
    expect((await the.store.list({}, 10, null)).jobs).toEqual([])
  })

  test('remove deletes one final job, and leaves one that is not', async () => {
    const the = await stage()
    const [job] = (await completed(the, 1)) as [JobWithPayload]
    const pending = await the.add()
    expect(await the.store.remove(job.id)).toMatchObject({ removed: true, job: { id: job.id } })
    expect(await the.store.get(job.id)).toBeNull()
    expect(await the.store.remove(job.id)).toBeNull()
    expect(await the.store.remove(pending.id)).toMatchObject({ removed: false, job: { status: 'pending' } })
    expect(await the.store.get(pending.id)).toEqual(pending)
  })

  test('artifacts are those of the run that completed, and a rerun forgets them', async () => {
    const the = await stage()
    const job = await the.running()
    const artifacts = [
      { name: 'b.csv', bytes: 5, content_type: 'text/csv' },
      { name: 'a"ü\u{1f600}.txt', bytes: 0, content_type: 'text/plain' },
    ]
    const after = await the.end(job, { verb: 'complete', result: '1', artifacts })
    expect(after?.artifacts).toEqual(artifacts)
    expect(await the.store.get(job.id)).toMatchObject({ artifacts, bytes: '{"n":1}1'.length + 5 })
    await the.store.rerun(job.id, T0 + 20)
    expect(await the.store.get(job.id)).toMatchObject({ artifacts: null, bytes: '{"n":1}'.length })
  })

  test('a run whose cancel was asked for leaves no artifacts', async () => {
    const the = await stage()
    const job = await the.running()
    await the.store.cancel(job.id, 'no', T0 + 5)
    const artifacts = [{ name: 'a', bytes: 5, content_type: 'text/csv' }]
    await the.end(job, { verb: 'complete', result: '1', artifacts })
    expect(await the.store.get(job.id)).toMatchObject({ status: 'cancelled', artifacts: null })
  })

  test('bytes are those of the UTF-8 text', async () => {
    const the = await stage()
    const job = await the.add({ payload: '"ü€\u{1f600}"' })
    expect(await the.store.get(job.id)).toMatchObject({ payload_bytes: 11, bytes: 11 })
  })

  async function scanAll(store: Store, filter: ScanFilter): Promise<string[]> {
    const found: string[] = []
    let count = 0
    for (let after: string | null = ''; after !== null; ) {
      const { jobs, next } = await store.scan(filter, after)
      found.push(...ids(jobs))
      after = next
    }
    for (let after: string | null = ''; after !== null; ) {
      const { jobs, next } = await store.tally(filter, after)
      count += jobs
      after = next
    }
    expect(count).toBe(found.length)
    return found
  }

  test('scan goes through all jobs once, oldest first, and tally counts the same', async () => {
    const the = await stage()
    const jobs = Array.from({ length: 4_321 }, (_, i) => aJob({ type: i % 3 === 0 ? 'a' : 'b' }, T0 + i))
    await the.store.submit(jobs, NO_BOUNDS)
    expect(await scanAll(the.store, {})).toEqual(ids(jobs))
    expect(await scanAll(the.store, { type: 'a' })).toEqual(ids(jobs.filter(({ type }) => type === 'a')))
    expect(await scanAll(the.store, { created_from: T0 + 5, created_before: T0 + 9 })).toEqual(ids(jobs.slice(5, 9)))
    expect(await scanAll(the.store, { status: ['completed'] })).toEqual([])
    expect(await scanAll(the.store, { status: [] })).toEqual([])
  })

  test('scan finds by status and by end', async () => {
    const the = await stage()
    const jobs = await completed(the, 3)
    await the.add()
    expect(await scanAll(the.store, { status: ['completed'] })).toEqual(ids(jobs))
    expect(await scanAll(the.store, { finished_before: T0 + 30 })).toEqual(ids(jobs.slice(0, 2)))
  })

  test('scan ends a piece early where payloads are large', async () => {
    const the = await stage()
    const payload = JSON.stringify('x'.repeat(400_000))
    const jobs = Array.from({ length: 9 }, () => aJob({ payload }))
    await the.store.submit(jobs, NO_BOUNDS)
    const { jobs: piece } = await the.store.scan({}, '')
    expect(piece.length).toBeLessThan(9)
    expect(await scanAll(the.store, {})).toEqual(ids(jobs))
  })
}
