// What handlers do, good and bad, through the whole service: each run becomes one outcome, and harms nobody else.
import { describe, expect, onTestFinished, test } from 'vitest'
import { startService } from './support/service.js'
import { until } from './support/until.js'

/** Keeps this thread busy, so that what comes over several ports waits and is not read in the order in which it was posted. */
function occupy(): void {
  let over = false
  onTestFinished(() => {
    over = true
  })
  const spin = () => {
    const end = performance.now() + 10
    while (performance.now() < end);
    if (!over) setImmediate(spin)
  }
  spin()
}

describe('a handler', () => {
  test.each([
    ['throws', 'handler_error', 'no luck'],
    ['rejects', 'handler_error', 'rejected'],
    ['throws_text', 'handler_error', 'only words'],
    ['throws_null', 'handler_error', 'threw null'],
    ['throws_trap', 'handler_error', 'cannot be read'],
    ['posts', 'handler_error', 'posted'],
    ['stray', 'handler_error', 'from a timer'],
    ['exits', 'thread_died', 'exited with code: 3'],
    ['returns_function', 'result_not_serialisable', 'function'],
    ['returns_bigint', 'result_not_serialisable', 'BigInt'],
    ['returns_circle', 'result_not_serialisable', 'circular'],
    ['returns_much', 'result_too_large', 'more than 1048576 bytes'],
    ['final', 'handler_error', 'never again'],
  ])('of type %s fails with %s after one attempt, and the next job runs', async (type, code, message) => {
    const { submit, ends } = await startService({ types: [type], config: { worker: { max_workers: 1 } } })
    const bad = await submit({ type, payload: {} })
    const good = await submit({ type: 'greet', payload: { name: 'neighbour' } })
    const failed = await ends(bad.id)
    expect(failed).toMatchObject({
      status: 'failed',
      reason: code,
      attempt: 1,
      error: { code, message: expect.stringContaining(message), attempt: 1 },
    })
    expect(await ends(good.id)).toMatchObject({ status: 'completed', attempt: 1, interruptions: 0 })
  })

  test.each(['late', 'late_promise'])(
    'of type %s that throws after it returned fails neither itself nor the next job',
    async (type) => {
      const { submit, ends, lines } = await startService({
        types: [type, 'hash'],
        config: { worker: { max_workers: 1 } },
      })
      const jobs = [await submit({ type })]
      for (let i = 0; i < 5; i += 1) jobs.push(await submit({ type: 'hash', payload: { rounds: 3 } }))
      for (const { id } of jobs) expect(await ends(id)).toMatchObject({ status: 'completed', attempt: 1 })
      expect(lines).toContainEqual(expect.objectContaining({ msg: 'stray error', id: jobs[0]?.id, error: 'too late' }))
    },
  )

  test('may return nothing', async () => {
    const { submit, ends } = await startService({ types: ['returns_nothing'] })
    expect(await ends((await submit({ type: 'returns_nothing' })).id)).toMatchObject({
      status: 'completed',
      result: null,
    })
  })

  test('that floods progress and log lines is held to a few of each, and its last progress is kept', async () => {
    const { submit, ends, lines } = await startService({ types: ['floods'] })
    const { id } = await submit({ type: 'floods' })
    expect(await ends(id)).toMatchObject({
      status: 'failed',
      progress: 100,
      progress_note: 'the last',
      error: { message: 'flooded' },
    })
    const logged = lines.filter(({ msg }) => msg === 'job log')
    expect(logged).toHaveLength(1_000)
    expect(logged.at(-1)?.line).toContain('no more lines')
  })

  test('that works on past its timeout is stopped and retried', async () => {
    const { submit, ends, http } = await startService({ config: { worker: { cancel_grace: '100ms' } } })
    const { id } = await submit({ type: 'endless', timeout: '300ms', retry_count: 1 })
    const job = await ends(id)
    expect(job).toMatchObject({
      status: 'failed',
      attempt: 2,
      error: { code: 'timeout', message: 'ran longer than its timeout of 300ms' },
    })
    const { attempts } = (await http.get(`/jobs/${id}/attempts`)).body
    expect(attempts.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['retry', 'fail'])
  })

  test('that returns once its timeout has fired has failed all the same', async () => {
    const { submit, ends, lines } = await startService()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' }, timeout: '300ms' })
    expect(await ends(id)).toMatchObject({ status: 'failed', error: { code: 'timeout' } })
    expect(lines.some(({ line }) => line === 'asked to stop: timeout')).toBe(true)
  })

  test('that names the time of its next attempt gets it, whatever the backoff', async () => {
    const { submit, ends } = await startService({ types: ['later'] })
    expect(await ends((await submit({ type: 'later' })).id)).toMatchObject({ status: 'completed', result: 2 })
  })
})

describe('the queue', () => {
  test('is bounded: the job too many gets 503 with Retry-After, and there is room again when one has run', async () => {
    const { http, submit, reaches, ends } = await startService({
      config: { worker: { max_workers: 1, queue_size: 3 } },
    })
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    const waiting = await Promise.all([1, 2, 3].map(() => submit({ type: 'greet' })))
    const { body, headers } = await http.post('/jobs').send({ type: 'greet' }).expect(503)
    expect(body).toMatchObject({ code: 'queue_full', detail: expect.stringContaining('queue_size is 3') })
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
    await submit({ type: 'greet', delay: 3600 })
    await http.post(`/jobs/${running.id}/cancel`).expect(202)
    for (const { id } of waiting) await ends(id)
    await submit({ type: 'greet' })
  })

  test('serves high priority first, and within a priority first come first', async () => {
    const { http, submit, reaches, ends } = await startService({ config: { worker: { max_workers: 1 } } })
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    const names: string[] = []
    const jobs = []
    for (const [name, priority] of [
      ['c', 5],
      ['b1', 3],
      ['b2', 3],
      ['a', 1],
    ] as const) {
      jobs.push({ name, id: (await submit({ type: 'greet', priority, payload: { name } })).id })
    }
    await http.post(`/jobs/${running.id}/cancel`).expect(202)
    const ended = await Promise.all(jobs.map(async ({ name, id }) => ({ name, job: await ends(id) })))
    for (const { name } of ended.sort((x, y) => String(x.job.started_at).localeCompare(String(y.job.started_at))))
      names.push(name)
    expect(names).toEqual(['a', 'b1', 'b2', 'c'])
  })

  test('runs a delayed job when its time has come, and not before', async () => {
    const { submit, ends } = await startService()
    const { id, run_at } = await submit({ type: 'greet', delay: '400ms' })
    const job = await ends(id)
    expect(Date.parse(String(job.started_at))).toBeGreaterThanOrEqual(Date.parse(String(run_at)))
  })
})

describe('the events of a job', () => {
  test('come in the order of its transitions, also when a retry is due at once', async () => {
    const { submit, ends, lines } = await startService({ types: ['again'] })
    const { id } = await submit({ type: 'again' })
    expect(await ends(id)).toMatchObject({ status: 'completed', attempt: 3 })
    const once = ['job claim', 'job retry', 'job promote']
    const told = lines.filter((line) => line.id === id).map(({ msg }) => msg)
    expect(told).toEqual(['job submit', ...once, ...once, 'job claim', 'job complete'])
  })
})

describe('the log', () => {
  test('has a line for each event of a job and never its payload or result', async () => {
    const { submit, ends, lines } = await startService()
    const { id } = await submit({ type: 'greet', payload: { name: 'a-secret-name' } })
    await ends(id)
    const own = lines.filter((line) => line.id === id)
    expect(own.map(({ msg }) => msg)).toEqual(['job submit', 'job claim', 'job complete'])
    expect(JSON.stringify(lines)).not.toContain('a-secret-name')
  })

  test('of jobs that end at once is kept as well, while the service has much to do', async () => {
    const says = `export default { run(_, ctx) { ctx.log('said') } }`
    const { submit, ends, http } = await startService({ files: { 'types/says.mjs': says } })
    await ends((await submit({ type: 'says' })).id)
    occupy()
    for (let i = 0; i < 10; i += 1) {
      const { id } = await submit({ type: 'says' })
      await ends(id)
      await until(`${id} has its line`, async () => (await http.get(`/jobs/${id}/logs`)).body.logs.length === 1, 2_000)
    }
  })
})
