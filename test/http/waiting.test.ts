// Waiting for the result: long polls, Prefer: wait, validators, and when to ask again.
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { shareService, startService } from '../support/service.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

const theService = shareService()

describe('GET /jobs/:id?wait', () => {
  test('answers as soon as the job is final, not before', async () => {
    const { submit, reaches, http } = await startService()
    const { id } = await submit({ type: 'polite', payload: {} })
    await reaches(id, 'processing')
    let answered = false
    const poll = http.get(`/jobs/${id}?wait=60`).then((answer) => {
      answered = true
      return answer
    })
    // Others are answered meanwhile, and it is not.
    for (let i = 0; i < 20; i += 1) await http.get(`/jobs/${id}`).expect(200)
    expect(answered).toBe(false)
    await http.post(`/jobs/${id}/cancel`).expect(202)
    const { status, body, headers } = await poll
    expect([status, body.status, headers['retry-after']]).toEqual([200, 'cancelled', undefined])
  })

  test('answers with the job as it is when the time is over', async () => {
    const { submit, http } = await theService()
    const { id } = await submit({ type: 'greet', delay: 3_600 })
    const begun = performance.now()
    const { body, headers } = await http.get(`/jobs/${id}?wait=1`).expect(200)
    expect(performance.now() - begun).toBeGreaterThan(900)
    expect([body.status, headers['retry-after']]).toEqual(['scheduled', '60'])
  })

  test('answers at once for a final job, and 404 for none', async () => {
    const { submit, ends, http } = await theService()
    const { id } = await submit({ type: 'greet', payload: { name: 'a' } })
    await ends(id)
    expect((await http.get(`/jobs/${id}?wait=60`).expect(200)).body.status).toBe('completed')
    await http.get('/jobs/none?wait=60').expect(404)
  })

  test.each(['wait=61', 'wait=-1', 'wait=x', 'wait=1e9', 'wait=', 'wait=1&wait=2', 'await=1'])(
    'answers 400 to ?%s',
    async (query) => {
      const { submit, http } = await theService()
      const { id } = await submit({ type: 'greet' })
      const { body } = await http.get(`/jobs/${id}?${query}`).expect(400)
      expect(body).toMatchObject({ code: 'invalid_query', detail: expect.stringContaining('wait') })
    },
  )

  test('a thousand at once are all answered when their job ends, and the service serves others meanwhile', async () => {
    const { submit, reaches, url, http } = await startService()
    const { id } = await submit({ type: 'polite', payload: {} })
    await reaches(id, 'processing')
    const polls = Array.from({ length: 1_000 }, () =>
      fetch(`${url}/jobs/${id}?wait=60`).then((answer) => answer.json()),
    )
    await http.get('/livez').expect(200)
    await http.post(`/jobs/${id}/cancel`).expect(202)
    const statuses = (await Promise.all(polls)).map((job) => (job as { status: string }).status)
    expect(new Set(statuses)).toEqual(new Set(['cancelled']))
  })

  test('more than half of all connections do not wait, but are answered at once', async () => {
    const { submit, url } = await startService({ config: { server: { max_connections: 6 } } })
    const { id } = await submit({ type: 'greet', delay: 60 })
    const gone = new AbortController()
    const polls = Array.from({ length: 5 }, () => fetch(`${url}/jobs/${id}?wait=60`, { signal: gone.signal }))
    const [first, second] = await Promise.all(firstTwo(polls))
    expect([first?.status, second?.status]).toEqual([200, 200])
    gone.abort()
    await Promise.allSettled(polls)
  })

  test('does not hold up a shutdown', async () => {
    const folder = freshFolder({ ...typeFiles(['greet']), 'config.yaml': { worker: { types: ['types'] } } })
    const service = await startProcess(folder)
    const { id } = await service.submit({ type: 'greet', delay: 3_600 })
    const poll = service.call('GET', `/jobs/${id}?wait=60`)
    await until('it is under way', async () => (await service.stats()) !== null)
    const begun = performance.now()
    expect(await service.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(performance.now() - begun).toBeLessThan(20_000)
    expect((await poll).body.status).toBe('scheduled')
  })
})

/** The two that are answered first. */
function firstTwo<T>(promises: Promise<T>[]): Promise<T>[] {
  const found: ((value: T) => void)[] = []
  const both = [0, 1].map(() => new Promise<T>((resolve) => found.push(resolve)))
  for (const promise of promises) promise.then((value) => found.shift()?.(value)).catch(() => {})
  return both
}

describe('POST /jobs with Prefer: wait', () => {
  test.each(['wait=30', 'respond-async, wait=30', 'Wait = "30"'])(
    'answers 200 with the result (%s)',
    async (prefer) => {
      const { http } = await theService()
      const { status, body, headers } = await http
        .post('/jobs')
        .set('Prefer', prefer)
        .send({ type: 'greet', payload: { name: 'you' } })
      expect([status, body.status, body.result]).toEqual([200, 'completed', { greeting: 'Hello, you' }])
      expect(headers).toMatchObject({ 'preference-applied': 'wait=30', location: `/jobs/${body.id}` })
    },
  )

  test('answers 202 where the job is not final in time', async () => {
    const { http } = await theService()
    const { status, body, headers } = await http
      .post('/jobs')
      .set('Prefer', 'wait=1')
      .send({ type: 'greet', delay: 60 })
    expect([status, body.status, headers['preference-applied']]).toEqual([202, 'scheduled', 'wait=1'])
  })

  test.each(['', 'wait', 'wait=', 'wait=-1', 'wait=soon', 'return=minimal', 'await=3'])(
    'leaves "%s" alone',
    async (prefer) => {
      const { http } = await theService()
      const { status, headers } = await http.post('/jobs').set('Prefer', prefer).send({ type: 'greet', delay: 60 })
      expect([status, headers['preference-applied']]).toEqual([202, undefined])
    },
  )
})

describe('an ETag of a job', () => {
  test('spares the answer as long as nothing changed, and no longer', async () => {
    const { submit, reaches, ends, http } = await startService()
    const { id } = await submit({ type: 'polite', payload: {} })
    await reaches(id, 'processing')
    await until('it has told its progress', async () => (await http.get(`/jobs/${id}`)).body.progress === 10)
    const first = await http.get(`/jobs/${id}`).expect(200)
    const { etag } = first.headers as { etag: string }
    for (const tag of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const { text, headers } = await http.get(`/jobs/${id}`).set('If-None-Match', tag).expect(304)
      expect([text, headers.etag]).toEqual(['', etag])
    }
    await http.get(`/jobs/${id}`).set('If-None-Match', '"other"').expect(200)
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await ends(id)
    const changed = await http.get(`/jobs/${id}`).set('If-None-Match', etag).expect(200)
    expect(changed.headers.etag).not.toBe(etag)
  })

  test('with a wait spares it when the time is over', async () => {
    const { submit, http } = await theService()
    const { id } = await submit({ type: 'greet', delay: 60 })
    const { etag } = (await http.get(`/jobs/${id}`)).headers as { etag: string }
    await http.get(`/jobs/${id}?wait=1`).set('If-None-Match', etag).expect(304)
  })
})
