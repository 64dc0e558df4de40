// What people expect of a queue, over HTTP: dependencies, keys, rates, limits in time, changes, and why a job waits.
import { describe, expect, test } from 'vitest'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const FILES = {
  // Tells what it was given by the jobs that it depends on.
  'types/gather.mjs': `export default { retry_count: 0, run: (_, ctx) => ctx.dependencies }`,
  // Snoozes twice, keeping where it was.
  'types/sleepy.mjs': `export default { retry_count: 0, async run(_, ctx) {
    ctx.log('run ' + ctx.run)
    if (ctx.run === 3) return { last: ctx.lastCheckpoint, attempt: ctx.attempt }
    await ctx.checkpoint([...(ctx.lastCheckpoint ?? []), ctx.run])
    try { ctx.snooze('20ms') } finally { ctx.log('put to sleep') }
  } }`,
  'types/keeps.mjs': `export default { retry_count: 1, backoff: { base: '10ms' }, async run({ value }, ctx) {
    if (ctx.attempt === 2) return ctx.lastCheckpoint
    await ctx.checkpoint(value === 'large' ? 'x'.repeat(100_000) : value === 'map' ? () => 1 : value)
    throw new Error('once more')
  } }`,
  'types/bad_snooze.mjs': `export default { retry_count: 0, run: (_, ctx) => ctx.snooze('soon') }`,
  'types/stamp.mjs': `export default { retry_count: 0, run: (_, ctx) => Date.now() }`,
}
const start = (config: object = {}, types: string[] = []) => startService({ config, types, files: FILES })

describe('depends_on', () => {
  test('runs a job after those that it depends on, with what they made', async () => {
    const { http, submit, ends, reaches } = await start({ worker: { max_workers: 4 } })
    const first = await submit({ type: 'greet', payload: { name: 'Ada' } })
    const second = await submit({ type: 'polite', payload: {} })
    const job = await submit({ type: 'gather', depends_on: [second.id, first.id] })
    expect(job).toMatchObject({ status: 'waiting', depends_on: [second.id, first.id], on_dependency_failure: 'fail' })
    await ends(first.id)
    await reaches(second.id, 'processing')
    const why = (await http.get(`/jobs/${job.id}/why`).expect(200)).body
    expect(why).toMatchObject({
      status: 'waiting',
      position: null,
      waits_for: [{ kind: 'dependency', jobs: [second.id] }],
    })
    await http.post(`/jobs/${second.id}/cancel`)
    expect(await ends(job.id)).toMatchObject({ status: 'failed', error: { code: 'dependency_failed' } })
    const after = { type: 'gather', depends_on: [first.id, second.id], on_dependency_failure: 'run' }
    const { result } = await ends((await submit(after)).id)
    expect(result).toEqual([
      {
        id: first.id,
        type: 'greet',
        status: 'completed',
        error: null,
        artifacts: [],
        result: { greeting: 'Hello, Ada' },
      },
      { id: second.id, type: 'polite', status: 'cancelled', error: null, artifacts: [], result: null },
    ])
    const refused = await http.delete(`/jobs/${first.id}`)
    expect(refused.status).toBe(204)
  })

  test('keeps what is needed from being deleted', async () => {
    const { http, submit, ends } = await start()
    const first = await submit({ type: 'greet' })
    const later = await submit({ type: 'greet', delay: 3_600 })
    await ends(first.id)
    const waiting = await submit({ type: 'gather', depends_on: [first.id, later.id] })
    expect((await http.delete(`/jobs/${first.id}`).expect(409)).body.code).toBe('job_needed')
    await http.post(`/jobs/${waiting.id}/cancel`).expect(200)
    await http.delete(`/jobs/${first.id}`).expect(204)
  })
})

describe('snooze and checkpoint', () => {
  test('a snoozed job comes back uncharged, with its checkpoint and its log', async () => {
    const { http, submit, ends } = await start()
    const { id } = await submit({ type: 'sleepy' })
    expect(await ends(id)).toMatchObject({ status: 'completed', result: { last: [1, 2], attempt: 1 } })
    const { attempts } = (await http.get(`/jobs/${id}/attempts`)).body
    expect(attempts.map(({ outcome, reason }: Record<string, string>) => [outcome, reason])).toEqual([
      ['snooze', 'snoozed'],
      ['snooze', 'snoozed'],
      ['complete', 'completed'],
    ])
    const logs = await until('all lines are stored', async () => {
      const { body } = await http.get(`/jobs/${id}/logs`).expect(200)
      return body.logs.length === 5 && body.logs
    })
    expect(logs.map(({ run, message }: { run: number; message: string }) => `${run} ${message}`)).toEqual([
      '1 run 1',
      '1 put to sleep',
      '2 run 2',
      '2 put to sleep',
      '3 run 3',
    ])
    const page = (await http.get(`/jobs/${id}/logs?limit=2`)).body
    const rest = (await http.get(`/jobs/${id}/logs?limit=1000&cursor=${page.next_cursor}`)).body
    expect([page.logs, rest.logs, rest.next_cursor]).toEqual([logs.slice(0, 2), logs.slice(2), null])
    await http.get('/jobs/none/logs').expect(404)
    for (const query of ['limit=0', 'limit=1e9', 'cursor=x', 'run=1'])
      expect((await http.get(`/jobs/${id}/logs?${query}`).expect(400)).body.code).toBe('invalid_query')
  })

  test('a checkpoint is kept for the next attempt; one that is too large or no JSON fails with why', async () => {
    const { submit, ends } = await start()
    const [kept, large, none] = [
      await submit({ type: 'keeps', payload: { value: { at: [1, null, 'ü'] } } }),
      await submit({ type: 'keeps', payload: { value: 'large' } }),
      await submit({ type: 'keeps', payload: { value: 'map' } }),
    ]
    expect(await ends(kept.id)).toMatchObject({ status: 'completed', result: { at: [1, null, 'ü'] } })
    expect((await ends(large.id)).error).toMatchObject({ message: expect.stringContaining('limits.checkpoint') })
    expect((await ends(none.id)).result).toBeNull()
  })

  test('a snooze for no span of time is an error of the handler', async () => {
    const { submit, ends } = await start()
    const { id } = await submit({ type: 'bad_snooze' })
    expect((await ends(id)).error).toMatchObject({ code: 'handler_error', message: expect.stringContaining('"soon"') })
  })
})

describe('a rate', () => {
  test('lets no span see more starts than it allows, and the rest follow', async () => {
    const { http, submit, ends } = await start({ jobs: { stamp: { rate: '3/500ms' } } })
    const jobs = []
    for (let i = 0; i < 10; i += 1) jobs.push(await submit({ type: 'stamp' }))
    const why = (await http.get(`/jobs/${jobs[9]?.id}/why`)).body
    expect(why.waits_for).toMatchObject([{ kind: 'rate', type: 'stamp', next_at: expect.any(String) }])
    const starts: number[] = []
    for (const { id } of jobs) starts.push(Date.parse((await ends(id)).started_at as string))
    for (const start of starts) expect(starts.filter((at) => at >= start && at < start + 500).length).toBeLessThan(4)
  })
})

describe('a concurrency_key', () => {
  test('lets its jobs run one at a time, in order', async () => {
    const { http, submit, ends, reaches } = await start({ worker: { max_workers: 5 } })
    const key = { concurrency_key: 'customer-7' }
    const first = await submit({ type: 'polite', payload: {}, ...key })
    await reaches(first.id, 'processing')
    const others = [await submit({ type: 'greet', ...key }), await submit({ type: 'stamp', ...key })]
    await ends((await submit({ type: 'greet' })).id)
    const why = (await http.get(`/jobs/${others[0]?.id}/why`)).body
    expect(why.waits_for).toMatchObject([
      { kind: 'concurrency_key', concurrency_key: 'customer-7', job: first.id, status: 'processing' },
    ])
    await http.post(`/jobs/${first.id}/cancel`)
    const [second, third] = [await ends(others[0]?.id as string), await ends(others[1]?.id as string)]
    expect(Date.parse(third.started_at as string)).toBeGreaterThanOrEqual(Date.parse(second.finished_at as string))
  })
})

describe('queue_size of a type', () => {
  test('bounds that type alone', async () => {
    const { http, submit } = await start({ jobs: { greet: { queue_size: 2 } } })
    await http.post('/workers/pause').send({})
    await submit({ type: 'greet' })
    await submit({ type: 'greet' })
    const { body } = await http.post('/jobs').send({ type: 'greet' }).expect(503)
    expect(body).toMatchObject({ code: 'queue_full', detail: expect.stringContaining('jobs.greet.queue_size is 2') })
    await submit({ type: 'stamp' })
    await submit({ type: 'greet', delay: 60 })
  })
})

describe('start_by', () => {
  test('fails a job that could not begin in time', async () => {
    const { http, submit, ends, reaches } = await start({ worker: { max_workers: 1 } })
    const busy = await submit({ type: 'polite', payload: {} })
    await reaches(busy.id, 'processing')
    const { id } = await submit({ type: 'greet', start_by: new Date(Date.now() + 500).toISOString() })
    expect(await ends(id)).toMatchObject({ status: 'failed', reason: 'start_by_passed', attempt: 0 })
    await http.post(`/jobs/${busy.id}/cancel`)
    // Run again on request it has no such limit any more.
    await http.post(`/jobs/${id}/rerun`).expect(202)
    await until('it is completed', async () => (await http.get(`/jobs/${id}`)).body.status === 'completed')
  })
})

describe('PATCH /jobs/:id', () => {
  test('changes priority and time of a job that has not begun', async () => {
    const { http, submit, ends } = await start()
    const { id } = await submit({ type: 'greet', delay: 3_600 })
    const later = await http.patch(`/jobs/${id}`).send({ priority: 1, run_at: '2999-01-01T00:00:00Z' }).expect(200)
    expect(later.body).toMatchObject({ status: 'scheduled', priority: 1, run_at: '2999-01-01T00:00:00.000Z' })
    await http.patch(`/jobs/${id}`).send({ run_at: null }).expect(200)
    await ends(id)
    expect((await http.patch(`/jobs/${id}`).send({ priority: 2 }).expect(409)).body.code).toBe('job_final')
  })

  test('refuses a time at which the job would have expired', async () => {
    const { http, submit } = await start()
    const { id } = await submit({ type: 'greet', delay: 3_600, start_by: '2998-01-01T00:00:00Z' })
    const { body } = await http.patch(`/jobs/${id}`).send({ run_at: '2999-01-01T00:00:00Z' }).expect(422)
    expect(body).toMatchObject({ code: 'invalid_request', errors: [{ pointer: '/run_at' }] })
    await http.patch(`/jobs/${id}`).send({ run_at: '2997-01-01T00:00:00Z' }).expect(200)
  })

  test('refuses a job that runs, one that is not there, and what is no change', async () => {
    const { http, submit, reaches } = await start()
    const { id } = await submit({ type: 'polite', payload: {} })
    await reaches(id, 'processing')
    expect((await http.patch(`/jobs/${id}`).send({ priority: 2 }).expect(409)).body.code).toBe('job_running')
    await http.patch('/jobs/none').send({ priority: 2 }).expect(404)
    const wrong = [
      {},
      { priority: 0 },
      { priority: '1' },
      { run_at: 'soon' },
      { run_at: 5 },
      { type: 'x' },
      [],
      undefined,
    ]
    for (const body of wrong) await http.patch(`/jobs/${id}`).send(body).expect(422)
  })
})

describe('GET /jobs/:id/why', () => {
  test('names pause, saturated type, taken slots and due time, and the position', async () => {
    const { http, submit, reaches, service } = await start({
      worker: { max_workers: 2 },
      jobs: { polite: { concurrency: 1 } },
    })
    const why = async (id: string) => (await http.get(`/jobs/${id}/why`).expect(200)).body
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    expect(await why(running.id)).toMatchObject({ status: 'processing', waits_for: [], position: null })
    const second = await submit({ type: 'polite', payload: {} })
    const third = await submit({ type: 'polite', payload: {} })
    expect(await why(third.id)).toMatchObject({
      position: 2,
      waits_for: [{ kind: 'type_saturated', type: 'polite', concurrency: 1 }],
    })
    const endless = await submit({ type: 'endless' })
    await reaches(endless.id, 'processing')
    expect((await why(second.id)).waits_for.map(({ kind }: { kind: string }) => kind)).toEqual([
      'type_saturated',
      'slots',
    ])
    await http.post('/workers/pause').send({ type: 'greet' })
    const paused = await submit({ type: 'greet' })
    expect((await why(paused.id)).waits_for[0]).toEqual({
      kind: 'paused',
      type: 'greet',
      detail: 'the type greet is paused',
    })
    const later = await submit({ type: 'greet', run_at: '2999-01-01T00:00:00Z' })
    expect((await why(later.id)).waits_for).toMatchObject([{ kind: 'due_time', run_at: '2999-01-01T00:00:00.000Z' }])
    await http.get('/jobs/none/why').expect(404)
    await http.post('/workers/resume').send({ type: 'greet' })
    const last = await submit({ type: 'greet' })
    void service.stop()
    const hindrances = (await why(last.id)).waits_for.map(({ kind }: { kind: string }) => kind)
    expect(hindrances).toEqual(['draining', 'slots'])
  })
})

describe('the position', () => {
  test('counts those of its key that wait their turn, and none of a paused type', async () => {
    const { http, submit } = await start()
    const position = async (id: string) => (await http.get(`/jobs/${id}/why`)).body.position
    for (const type of ['greet', 'polite']) await http.post('/workers/pause').send({ type })
    await submit({ type: 'polite', payload: {} })
    const ids: string[] = []
    for (let i = 0; i < 3; i += 1) ids.push((await submit({ type: 'greet', concurrency_key: 'k' })).id)
    expect(await Promise.all(ids.map(position))).toEqual([1, 2, 3])
  })
})

describe('the order', () => {
  test('is first come, first served within a priority: 200 jobs on one slot', async () => {
    const { http, submit, ends } = await start({ worker: { max_workers: 1, queue_size: 500 } })
    await http.post('/workers/pause').send({})
    const priorities = [3, 1, 3, 5, 2]
    const jobs: { id: string; priority: number }[] = []
    for (let i = 0; i < 200; i += 1) {
      const priority = priorities[i % priorities.length] as number
      jobs.push({ priority, id: (await submit({ type: 'stamp', priority })).id })
    }
    await http.post('/workers/resume').send({})
    const started: { id: string; at: number }[] = []
    for (const { id } of jobs) started.push({ id, at: Number((await ends(id)).result) })
    const byPriority = jobs.toSorted((a, b) => a.priority - b.priority)
    const times = byPriority.map(({ id }) => started.find((one) => one.id === id)?.at as number)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })
})

describe('bad input', () => {
  const JOBS: [object, string][] = [
    [{ unique_key: 'x'.repeat(256) }, '/unique_key'],
    [{ concurrency_key: '' }, '/concurrency_key'],
    [{ concurrency_key: 'x'.repeat(256) }, '/concurrency_key'],
    [{ concurrency_key: 7 }, '/concurrency_key'],
    [{ delay: -1 }, '/delay'],
    [{ delay: '-5m' }, '/delay'],
    [{ delay: '4000d' }, '/delay'],
    [{ run_at: '+300000-01-01T00:00:00Z' }, '/run_at'],
    [{ run_at: '300000-01-01T00:00:00Z' }, '/run_at'],
    [{ start_by: '1999-01-01T00:00:00Z' }, '/start_by'],
    [{ start_by: '5m' }, '/start_by'],
    [{ run_at: '2990-01-01T00:00:00Z', start_by: '2989-01-01T00:00:00Z' }, '/start_by'],
    [{ depends_on: 'x' }, '/depends_on'],
    [{ depends_on: [1] }, '/depends_on/0'],
    [{ depends_on: ['a', 'a'] }, '/depends_on'],
    [{ depends_on: Array.from({ length: 101 }, (_, i) => `id-${i}`) }, '/depends_on'],
    [{ depends_on: ['nobody'] }, '/depends_on/0'],
    [{ on_dependency_failure: 'run' }, '/on_dependency_failure'],
    [{ depends_on: ['x'], on_dependency_failure: 'maybe' }, '/on_dependency_failure'],
    [{ tags: { 'a b': 'x' } }, '/tags/a b'],
    [{ tags: { a: 7 } }, '/tags/a'],
    [{ tags: { a: 'x'.repeat(256) } }, '/tags/a'],
    [{ tags: ['a'] }, '/tags'],
    [{ tags: JSON.parse('{"a":"x","__proto__":"y"}') }, '/tags'],
    [{ tags: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`k${i}`, 'v'])) }, '/tags'],
    [{ batch_id: 'x' }, '/batch_id'],
  ]

  test('of a job is a 422 that points at it, and stores nothing', async () => {
    const { http } = await start()
    for (const [more, pointer] of JOBS) {
      const { status, body } = await http.post('/jobs').send({ type: 'greet', ...more })
      const pointers = body.errors.map((error: { pointer: string }) => error.pointer)
      expect([status, pointers], JSON.stringify(more).slice(0, 100)).toEqual([422, [pointer]])
      for (const { detail } of body.errors) expect(detail).toMatch(/must|there is no job|unknown key/)
    }
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })

  test('of GET /jobs is a 400 that names it', async () => {
    const { http } = await start()
    const queries = ['limit=1e9', 'limit=501', 'tag=x', 'tag=a%20b:c', 'created_after=yesterday', 'batch=', 'order=asc']
    for (const query of queries) {
      const { status, body } = await http.get(`/jobs?${query}`)
      const name = query.split('=')[0] as string
      expect([status, body.code, body.detail], query).toEqual([400, 'invalid_query', expect.stringContaining(name)])
    }
  })

  test('a cursor belongs to its query, with every filter of it', async () => {
    const { http, submit } = await start()
    for (let i = 0; i < 3; i += 1) await submit({ type: 'greet', delay: 60, tags: { a: 'b' } })
    const { next_cursor } = (await http.get('/jobs?limit=1&tag=a:b').expect(200)).body
    await http.get(`/jobs?limit=1&tag=a:b&cursor=${next_cursor}`).expect(200)
    for (const other of ['tag=a:c', 'tag=a:b&type=greet', 'tag=a:b&created_after=2020-01-01T00:00:00Z', ''])
      await http.get(`/jobs?${other}&cursor=${next_cursor}`).expect(400)
  })

  test.each(['0/1s', '10', '10/1x', '-1/1s', '10001/1s', '1/0s', '1/40d', 5])(
    'rate %j stops the start',
    async (rate) => {
      await expect(start({ jobs: { greet: { rate } } })).rejects.toThrow(/must be a rate/)
    },
  )
})
