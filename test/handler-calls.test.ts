// What handlers ask of the main thread, through real threads: jobmill's own jobs, artifacts of other jobs, submissions.
import { describe, expect, test } from 'vitest'
import { startService } from './support/service.js'

async function startCalls(options: Parameters<typeof startService>[0] = {}) {
  const service = await startService({ types: ['calls', 'makes', 'throws'], ...options })
  return {
    ...service,
    /** What the handler got from that call, or how its job failed. */
    async call(method: string, ...args: unknown[]) {
      const job = await service.ends((await service.submit({ type: 'calls', payload: { method, args } })).id)
      return job.error === null ? job.result : job.error
    },
  }
}

describe('ctx.jobs.page', () => {
  test('gives all jobs, oldest first, as GET /jobs/:id does, in as many pieces as it takes', async () => {
    const { call, submit, ends, get } = await startCalls({ config: { worker: { queue_size: 10_000 } } })
    const ids: string[] = []
    for (let i = 0; i < 30; i += 1)
      ids.push((await submit({ type: 'greet', payload: { name: 'x'.repeat(60_000) } })).id)
    for (const id of ids) await ends(id)
    const jobs = (await call('page_all')) as { id: string }[]
    expect(jobs.slice(0, -1).map(({ id }) => id)).toEqual(ids)
    const { payload, result, ...job } = await get(String(ids[3]))
    const sizes = [JSON.stringify(payload).length, JSON.stringify(result).length]
    expect(jobs[3]).toEqual({ ...job, sizes })
    // The job that asks is the last one of those that it sees.
    expect(jobs.at(-1)).toMatchObject({ type: 'calls', status: 'processing' })
  })

  test('takes status, type and times of creation, and counts what it gives', async () => {
    const { call, submit, ends } = await startCalls()
    const first = await ends((await submit({ type: 'greet', payload: { name: 'a' } })).id)
    const failed = await ends((await submit({ type: 'throws' })).id)
    const later = await submit({ type: 'greet', delay: 3600 })
    const found = async (filter: object) => {
      const jobs = (await call('page_all', filter)) as { id: string }[]
      expect(await call('jobs.count', filter)).toBe(jobs.length)
      return jobs.map(({ id }) => id)
    }
    expect(await found({ type: 'greet' })).toEqual([first.id, later.id])
    expect(await found({ status: ['failed', 'scheduled'] })).toEqual([failed.id, later.id])
    expect(await found({ type: 'throws', status: ['completed'] })).toEqual([])
    const at = Date.parse(failed.created_at)
    expect(await found({ type: 'throws', created_from: at, created_before: at + 1 })).toEqual([failed.id])
    expect(await found({ type: 'throws', created_from: at + 1 })).toEqual([])
    expect(await found({ type: 'throws', created_before: at })).toEqual([])
  })

  test.each([
    [{ statsu: ['failed'] }, 'filter.statsu: unknown key, did you mean "status"?'],
    [{ status: ['done'] }, 'filter.status.0: must be "waiting" or'],
    [{ created_from: 'yesterday' }, 'filter.created_from: must be a number'],
  ])('tells what is wrong with %j', async (filter, message) => {
    const { call } = await startCalls()
    expect(await call('jobs.page', filter)).toMatchObject({ message: expect.stringContaining(message) })
  })
})

describe('ctx.jobs.prune', () => {
  test('deletes final jobs that ended before, in steps, or only counts them', async () => {
    const { call, submit, ends, http } = await startCalls({ config: { worker: { queue_size: 1_000 } } })
    const jobs = []
    for (let i = 0; i < 150; i += 1) jobs.push(await submit({ type: 'greet', payload: { name: 'x' } }))
    for (const { id } of jobs) await ends(id)
    const kept = await submit({ type: 'greet', delay: 3600 })
    const filter = { type: 'greet', finished_before: Date.now() + 1 }
    const counted = (await call('prune_all', { ...filter, dry_run: true })) as { jobs: number; bytes: number }
    expect(counted).toMatchObject({ jobs: 150 })
    expect((await http.get('/workers/stats')).body).toMatchObject({ jobs_by_status: { scheduled: 1 } })
    expect(await call('prune_all', filter)).toMatchObject({ jobs: 150, bytes: counted.bytes, steps: 3 })
    expect(await call('prune_all', filter)).toMatchObject({ jobs: 0, bytes: 0 })
    await http.get(`/jobs/${kept.id}`).expect(200)
    const { completed_jobs, jobs_by_status } = (await http.get('/workers/stats')).body
    // Three of them were the jobs that pruned.
    expect([completed_jobs, jobs_by_status.completed]).toEqual([153, 3])
  })

  test('leaves jobs that ended later, of another status or of another type', async () => {
    const { call, submit, ends, http } = await startCalls()
    const job = await ends((await submit({ type: 'greet' })).id)
    const ended = Date.parse(String(job.finished_at))
    for (const filter of [
      { finished_before: ended },
      { finished_before: ended + 60_000, status: ['failed', 'cancelled'] },
      { finished_before: ended + 60_000, type: 'throws' },
    ])
      expect(await call('prune_all', filter)).toMatchObject({ jobs: 0 })
    await http.get(`/jobs/${job.id}`).expect(200)
  })
})

describe('ctx.openArtifact', () => {
  test('streams what another job made, however large', async () => {
    const { call, submit, ends } = await startCalls()
    const payload = { files: { 'a.txt': 'é'.repeat(1_000) }, repeat: 400 }
    const { id } = await ends((await submit({ type: 'makes', payload })).id)
    expect(await call('read_artifact', id, 'a.txt')).toEqual({
      name: 'a.txt',
      content_type: 'text/plain; charset=utf-8',
      bytes: 800_000,
      text: 'é'.repeat(400_000),
    })
  })

  test('says where there is none', async () => {
    const { call, submit, ends } = await startCalls()
    const { id } = await ends((await submit({ type: 'makes', payload: { files: {} } })).id)
    for (const [job, name] of [
      [id, 'a.txt'],
      ['nobody', 'a.txt'],
    ])
      expect(await call('read_artifact', job, name)).toMatchObject({ message: `job ${job} has no artifact "a.txt"` })
  })
})

describe('ctx.submit', () => {
  test('stores jobs as POST /jobs does, past the bound of the queue', async () => {
    const { call, ends } = await startCalls({ config: { worker: { queue_size: 1, max_workers: 1 } } })
    const jobs = await call('submit_many', 20, { type: 'greet', payload: { name: 'x' }, priority: 1 })
    expect(jobs).toHaveLength(20)
    for (const { id, status } of jobs as { id: string; status: string }[]) {
      expect(status).toBe('pending')
      expect(await ends(id)).toMatchObject({ status: 'completed', priority: 1, payload: { name: 'x' } })
    }
  })

  test('is bounded by data.max_bytes, as POST /jobs is', async () => {
    const { call, http } = await startCalls({ config: { data: { max_bytes: 2_000 } } })
    const job = { type: 'greet', payload: { name: 'x'.repeat(2_000) } }
    const { body } = await http.post('/jobs').send(job).expect(507)
    expect(body).toMatchObject({ code: 'storage_full', detail: expect.stringContaining('data.max_bytes is 2000') })
    expect(await call('submit', { type: 'greet', payload: { name: 'x' } })).toMatchObject({ status: 'pending' })
    // The call itself takes as much as is left.
    const large = 'x'.repeat(1_200)
    expect(await call('submit', { type: 'greet', payload: { name: large } })).toMatchObject({
      message: expect.stringContaining('data.max_bytes'),
    })
  })

  test('refuses what POST /jobs refuses, and says why', async () => {
    const { call } = await startCalls()
    expect(await call('submit', { type: 'greeet' })).toMatchObject({ message: 'there is no job type "greeet"' })
    expect(await call('submit', { type: 'greet', priority: 9 })).toMatchObject({
      message: expect.stringContaining('/priority'),
    })
  })
})

test('calls end with their job: a handler that only ever calls is cancelled', async () => {
  const { submit, reaches, http, lines } = await startCalls()
  const { id } = await submit({ type: 'calls', payload: { method: 'count_for_ever' } })
  await reaches(id, 'processing')
  await http.post(`/jobs/${id}/cancel`).expect(202)
  await reaches(id, 'cancelled')
  expect(lines.filter(({ msg }) => msg === 'stray error')).toEqual([])
})
