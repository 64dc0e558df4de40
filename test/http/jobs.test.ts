// The routes that read, list, cancel and rerun jobs, and those of workers, types and probes.
import { describe, expect, test } from 'vitest'
import { shareService, startService } from '../support/service.js'
import { BROKEN_TYPES } from '../support/types.js'
import { until } from '../support/until.js'

const theService = shareService()

describe('GET /jobs/:id', () => {
  test('shows a finished job with result, times and the worker that ran it', async () => {
    const { submit, ends } = await startService()
    const { id } = await submit({ type: 'greet', payload: { name: 'Ada' } })
    const job = await ends(id)
    expect(job).toMatchObject({
      status: 'completed',
      progress: 100,
      progress_note: 'halfway',
      reason: 'completed',
      attempt: 1,
      max_attempts: 2,
      result: { greeting: 'Hello, Ada' },
      error: null,
      worker: { node: expect.stringMatching(/-[0-9a-f]{8}$/), slot: 1 },
    })
    expect(Date.parse(String(job.started_at))).toBeGreaterThanOrEqual(Date.parse(job.created_at))
    expect(Date.parse(String(job.finished_at))).toBeGreaterThanOrEqual(Date.parse(String(job.started_at)))
  })

  test.each(['get /jobs/nope', 'get /jobs/nope/attempts', 'post /jobs/nope/cancel', 'post /jobs/nope/rerun'])(
    'of an unknown id is 404: %s',
    async (request) => {
      const { http } = await theService()
      const [method, path] = request.split(' ') as ['get' | 'post', string]
      expect((await http[method](path).expect(404)).body.code).toBe('job_not_found')
    },
  )

  test('lists the attempts, with the stack that the job itself does not show', async () => {
    const { http, submit, ends } = await startService({ types: ['flaky'] })
    const { id } = await submit({ type: 'flaky' })
    expect((await ends(id)).result).toEqual({ attempt: 3, run: 3 })
    const { attempts } = (await http.get(`/jobs/${id}/attempts`).expect(200)).body
    expect(attempts.map((row: { run: number; outcome: string }) => [row.run, row.outcome])).toEqual([
      [1, 'retry'],
      [2, 'retry'],
      [3, 'complete'],
    ])
    expect(attempts[0].error).toMatchObject({
      code: 'handler_error',
      message: 'attempt 1',
      stack: expect.stringContaining('flaky.mjs'),
    })
  })
})

describe('GET /jobs', () => {
  async function withJobs() {
    const service = await startService({ types: ['hash'] })
    const ids: string[] = []
    for (let i = 0; i < 7; i += 1)
      ids.unshift((await service.submit({ type: i % 2 ? 'greet' : 'hash', delay: 3600 })).id)
    return { ...service, ids }
  }

  test('pages through all jobs, newest first, without payload and result', async () => {
    const { http, ids } = await withJobs()
    const seen: string[] = []
    let path: string | undefined = '/jobs?limit=3'
    while (path !== undefined) {
      const response: {
        body: { jobs: { id: string }[]; next_cursor: string | null }
        headers: Record<string, string>
      } = await http.get(path).expect(200)
      for (const job of response.body.jobs) expect(job).not.toHaveProperty('payload')
      seen.push(...response.body.jobs.map(({ id }) => id))
      path = /<(.*)>; rel="next"/.exec(response.headers.link ?? '')?.[1]
      expect(path === undefined).toBe(response.body.next_cursor === null)
    }
    expect(seen).toEqual(ids)
  })

  test('filters by type and by several statuses', async () => {
    const { http, ids } = await withJobs()
    await http.post(`/jobs/${ids[0]}/cancel`).expect(200)
    const list = async (query: string) =>
      (await http.get(`/jobs?${query}`).expect(200)).body.jobs.map(({ id }: { id: string }) => id)
    expect(await list('type=greet')).toEqual([ids[1], ids[3], ids[5]])
    expect(await list('status=cancelled')).toEqual([ids[0]])
    expect(await list('status=cancelled,scheduled&type=hash')).toEqual([ids[0], ids[2], ids[4], ids[6]])
    expect(await list('status=failed')).toEqual([])
    expect(await list('type=unheard-of')).toEqual([])
  })

  test('keeps its place while jobs come and change', async () => {
    const { http, ids, submit } = await withJobs()
    const first = (await http.get('/jobs?limit=3&type=hash')).body
    await submit({ type: 'hash', delay: 3600 })
    await http.post(`/jobs/${ids[4]}/cancel`).expect(200)
    const second = (await http.get(`/jobs?limit=3&type=hash&cursor=${first.next_cursor}`)).body
    expect([...first.jobs, ...second.jobs].map(({ id }) => id)).toEqual([ids[0], ids[2], ids[4], ids[6]])
  })

  test.each([
    'limit=0',
    'limit=501',
    'limit=1e9',
    'limit=-1',
    'limit=x',
    'status=done',
    'state=failed',
    'cursor=abc',
    'limit=1&limit=2',
    'type=',
  ])('answers 400 to ?%s', async (query) => {
    const { http } = await theService()
    expect((await http.get(`/jobs?${query}`).expect(400)).body).toMatchObject({
      code: 'invalid_query',
      detail: expect.stringContaining(query.split('=', 1)[0] as string),
    })
  })

  test('names the statuses that there are', async () => {
    const { http } = await theService()
    const { detail } = (await http.get('/jobs?status=failed,done').expect(400)).body
    expect(detail).toMatch(/^status: must be of waiting, .*, cancelled, with commas between, is "failed,done"$/)
  })

  test('refuses the cursor of another query', async () => {
    const { http } = await withJobs()
    const { next_cursor } = (await http.get('/jobs?limit=1&type=hash')).body
    expect((await http.get(`/jobs?cursor=${next_cursor}`).expect(400)).body.detail).toContain('another')
  })
})

describe('POST /jobs/:id/cancel', () => {
  test('ends a job that does not run, with the reason given', async () => {
    const { http, submit, get } = await theService()
    const { id } = await submit({ type: 'greet', delay: 3600 })
    const { body } = await http.post(`/jobs/${id}/cancel`).send({ reason: 'ordered twice' }).expect(200)
    expect(body).toMatchObject({ status: 'cancelled', reason: 'cancelled', reason_detail: 'ordered twice' })
    expect(await get(id)).toMatchObject({ status: 'cancelled', run_at: null, finished_at: expect.any(String) })
  })

  test('asks a running job to stop, and the handler sees why', async () => {
    const { http, submit, reaches, lines } = await startService()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' } })
    await until('the handler waits', async () => (await reaches(id, 'processing')).progress === 10)
    const { body } = await http.post(`/jobs/${id}/cancel`).expect(202)
    expect(body).toMatchObject({
      status: 'processing',
      reason: 'cancel_requested',
      cancel_requested_at: expect.any(String),
    })
    const ended = await reaches(id, 'cancelled')
    expect(ended).toMatchObject({ result: null, error: null })
    expect(lines.some(({ line }) => line === 'asked to stop: cancelled')).toBe(true)
  })

  test('stops a job in an endless loop, and its slot is free again', async () => {
    const { http, submit, reaches, ends } = await startService({ config: { worker: { max_workers: 1 } } })
    const { id } = await submit({ type: 'endless' })
    await reaches(id, 'processing')
    const next = await submit({ type: 'greet', payload: { name: 'next' } })
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await reaches(id, 'cancelled')
    expect((await ends(next.id)).status).toBe('completed')
  })

  test('of a final job is 409, of one with a bad body 422', async () => {
    const { http, submit, ends } = await theService()
    const { id } = await submit({ type: 'greet' })
    await ends(id)
    expect((await http.post(`/jobs/${id}/cancel`).expect(409)).body.code).toBe('job_final')
    const { body } = await http.post(`/jobs/${id}/cancel`).send({ raeson: 'x' }).expect(422)
    expect(body.errors[0].pointer).toBe('/raeson')
  })
})

describe('POST /jobs/:id/rerun', () => {
  test('runs a failed job again from its first attempt, under the next run', async () => {
    const { http, submit, ends } = await startService({ types: ['throws'] })
    const { id } = await submit({ type: 'throws' })
    expect(await ends(id)).toMatchObject({
      status: 'failed',
      error: { code: 'handler_error', message: 'no luck', attempt: 1 },
    })
    expect((await http.post(`/jobs/${id}/rerun`).expect(202)).body).toMatchObject({
      status: 'pending',
      attempt: 0,
      error: null,
      finished_at: null,
    })
    expect(await ends(id)).toMatchObject({ status: 'failed', attempt: 1 })
    expect((await http.get(`/jobs/${id}/attempts`)).body.attempts.map(({ run }: { run: number }) => run)).toEqual([
      1, 2,
    ])
  })

  test('of a job that is not final is 409', async () => {
    const { http, submit } = await theService()
    const { id } = await submit({ type: 'greet', delay: 3600 })
    expect((await http.post(`/jobs/${id}/rerun`).expect(409)).body.code).toBe('job_not_final')
  })
})

describe('the workers', () => {
  test('are counted, also what ever ended', async () => {
    const { http, submit, ends, reaches } = await startService({
      types: ['throws'],
      config: { worker: { max_workers: 1 } },
    })
    await ends((await submit({ type: 'greet' })).id)
    await ends((await submit({ type: 'throws' })).id)
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    await submit({ type: 'greet' })
    await submit({ type: 'greet', delay: 3600 })
    const { body } = await http.get('/workers/stats').expect(200)
    expect(Object.keys(body).slice(0, 4)).toEqual(['active_workers', 'queued_jobs', 'completed_jobs', 'failed_jobs'])
    expect(body).toMatchObject({
      active_workers: 1,
      queued_jobs: 1,
      completed_jobs: 1,
      failed_jobs: 1,
      max_workers: 1,
      queue_size: 100,
      jobs_by_status: { scheduled: 1, pending: 1, processing: 1 },
    })
    await http.post(`/jobs/${running.id}/cancel`)
  })

  test('grow and shrink at once, and a shrink kills nothing', async () => {
    const { http, submit, reaches, ends } = await startService({ config: { worker: { max_workers: 1 } } })
    const jobs = [
      await submit({ type: 'polite', payload: {} }),
      await submit({ type: 'polite', payload: {} }),
      await submit({ type: 'greet' }),
    ]
    const [first, second, third] = jobs.map(({ id }) => id) as [string, string, string]
    await reaches(first, 'processing')
    expect((await http.put('/workers').send({ max_workers: 2 }).expect(200)).body.max_workers).toBe(2)
    await reaches(second, 'processing')
    await http.put('/workers').send({ max_workers: 1 }).expect(200)
    await http.post(`/jobs/${first}/cancel`).expect(202)
    await reaches(first, 'cancelled')
    // One job still runs and one slot is all there is: the third waits.
    expect((await http.get(`/jobs/${third}`)).body.status).toBe('pending')
    expect((await http.get(`/jobs/${second}`)).body.status).toBe('processing')
    await http.post(`/jobs/${second}/cancel`).expect(202)
    expect((await ends(third)).status).toBe('completed')
  })

  test.each([
    [{ max_workers: 0 }],
    [{ max_workers: 513 }],
    [{ max_workers: 1.5 }],
    [{ max_workers: '4' }],
    [{}],
    [{ max_workers: 4, x: 1 }],
  ])('refuse %j', async (body) => {
    const { http } = await theService()
    expect((await http.put('/workers').send(body).expect(422)).body.code).toBe('invalid_request')
  })
})

describe('GET /types', () => {
  test('shows each type with its schema, limits and state; broken files say why and harm nobody', async () => {
    const { http, submit, ends, lines } = await startService({
      types: ['hash'],
      files: BROKEN_TYPES,
      config: { jobs: { hash: { enabled: false } } },
    })
    const { types } = (await http.get('/types').expect(200)).body as {
      types: { name: string; reason: string | null; state: string }[]
    }
    const reason = (name: string) => types.find((type) => type.name === name)?.reason
    expect(types.find(({ name }) => name === 'greet')).toMatchObject({
      state: 'enabled',
      reason: null,
      description: 'Say hello',
      timeout_ms: 20_000,
      retry_count: 1,
      backoff: { base: 1_000, factor: 2, max: 300_000, jitter: 0.1 },
    })
    expect(reason('broken_syntax')).toContain('cannot be loaded')
    expect(reason('broken_throws')).toContain('no database here')
    expect(reason('broken_exits')).toContain('exit code 7')
    expect(reason('broken_hangs')).toContain('within 5 s')
    expect(reason('broken_waits')).toContain('within 5 s')
    expect(reason('broken_late')).toContain('soon after')
    expect(reason('broken name')).toContain('its name must be')
    expect(reason('broken_shape')).toContain('run(payload, ctx)')
    expect(reason('broken_payload')).toContain('payload must be a zod schema')
    expect(reason('broken_payload_function')).toContain('no schema today')
    expect(reason('broken_config')).toContain('config must be a zod schema')
    expect(reason('broken_getter')).toContain('no timeout today')
    expect(reason('broken_concurrency')).toContain('concurrency must be a whole number from 1 to 512')
    expect(reason('broken_limits')).toContain('timeout must be')
    expect(reason('broken_import')).toContain('a-package-that-is-not-there')
    expect(reason('email')).toBe(null)
    expect(lines.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/types\/email.mjs is left out/))
    expect(reason('hash')).toBe('jobs.hash.enabled is false')
    const { body } = await http.post('/jobs').send({ type: 'broken_shape' }).expect(422)
    expect(body.code).toBe('disabled_type')
    expect((await ends((await submit({ type: 'greet', payload: { name: 'still here' } })).id)).status).toBe('completed')
  })

  test('shows the payload of email as JSON Schema', async () => {
    const { http } = await theService()
    const { types } = (await http.get('/types')).body as { types: { name: string; payload_schema: object }[] }
    expect(types.find(({ name }) => name === 'email')?.payload_schema).toMatchObject({
      type: 'object',
      required: ['to', 'subject'],
      additionalProperties: false,
      properties: { subject: { type: 'string', maxLength: 998 } },
    })
  })
})

describe('the probes', () => {
  test('answer alive and ready; while draining not ready, and no job is taken', async () => {
    const { http, service, submit, reaches } = await startService()
    expect((await http.get('/livez').expect(200)).body).toMatchObject({ status: 'alive' })
    expect((await http.get('/readyz').expect(200)).body).toEqual({ status: 'ready' })
    const { id } = await submit({ type: 'polite', payload: {} })
    await reaches(id, 'processing')
    const stopped = service.stop()
    await http.get('/livez').expect(200)
    expect((await http.get('/readyz').expect(503)).body).toMatchObject({
      code: 'not_ready',
      detail: 'the server is draining',
    })
    const refused = await http.post('/jobs').send({ type: 'greet' }).expect(503)
    expect([refused.body.code, refused.headers['retry-after']]).toEqual(['draining', '10'])
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await stopped
  })
})
