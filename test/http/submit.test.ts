// POST /jobs: what is taken, what is refused and how, and that the browser of a stranger gets nowhere.
import { createConnection } from 'node:net'
import { describe, expect, test } from 'vitest'
import { shareService, startService } from '../support/service.js'

const theService = shareService()

const EMAIL = { type: 'email', payload: { to: 'user@example.com', subject: 'Hello', body: 'Test email' } }

/** Text over a bare socket: for what no HTTP client would send. */
function raw(url: string, text: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(port), hostname, () => socket.write(text))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('end', () => resolve(answer))
    socket.on('error', reject)
  })
}

describe('POST /jobs', () => {
  test('answers 202 with the job and its place', async () => {
    const { http, get } = await theService()
    const { body, headers } = await http
      .post('/jobs')
      .send({ ...EMAIL, priority: 1, delay: '1h' })
      .expect(202)
    expect(headers.location).toBe(`/jobs/${body.id}`)
    expect(Object.keys(body).slice(0, 6)).toEqual(['id', 'type', 'status', 'progress', 'created_at', 'updated_at'])
    expect(body).toMatchObject({
      ...EMAIL,
      status: 'scheduled',
      progress: 0,
      priority: 1,
      attempt: 0,
      worker: null,
      result: null,
      error: null,
    })
    expect(Date.parse(body.run_at) - Date.parse(body.created_at)).toBe(3_600_000)
    expect(body.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(await get(body.id)).toEqual(body)
  })

  test.each([
    ['no content type', undefined, JSON.stringify({ ...EMAIL, delay: 60 })],
    ['the form type that curl sends', 'application/x-www-form-urlencoded', JSON.stringify({ ...EMAIL, delay: 60 })],
    ['text', 'text/plain; charset=UTF-8', JSON.stringify({ ...EMAIL, delay: 60 })],
    [
      'a real form',
      'application/x-www-form-urlencoded',
      'type=email&delay=60&payload[to]=user@example.com&payload[subject]=Hello&payload[body]=Test+email',
    ],
  ])('reads a body with %s', async (_, type, text) => {
    const { url } = await theService()
    const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
    const response = await fetch(`${url}/jobs`, { method: 'POST', headers, body: new TextEncoder().encode(text) })
    expect(response.status).toBe(202)
    expect(await response.json()).toMatchObject({ ...EMAIL, status: 'scheduled' })
  })

  test.each(['not json', 'null', '"type"', 'type', 'not=json', '"type=greet"', 'payload[a]=1', '&=&'])(
    'says that %s, sent by curl, is neither JSON nor a form with "type"',
    async (text) => {
      const { http } = await theService()
      const { body } = await http
        .post('/jobs')
        .set('Content-Type', 'application/x-www-form-urlencoded')
        .send(text)
        .expect(400)
      expect(body).toMatchObject({
        code: 'malformed_request',
        detail: 'the body is neither JSON nor a form with "type"',
      })
    },
  )

  test('a form without a type is as good as JSON where none is asked for', async () => {
    const { http, submit, get } = await theService()
    const { id } = await submit({ type: 'greet', delay: '1h' })
    await http.post(`/jobs/${id}/cancel`).type('form').send('reason=no longer needed').expect(200)
    expect(await get(id)).toMatchObject({ status: 'cancelled', reason_detail: 'no longer needed' })
  })

  test('keeps every JSON value of a payload as it was sent', async () => {
    const { submit, ends } = await theService()
    const payload = {
      name: 'Zoë \u0000 \ud83d\ude00 "quoted"',
      list: [1, -0.5, 1e300, null, true, []],
      __proto__x: { a: {} },
    }
    const { id } = await submit({ type: 'greet', payload })
    expect((await ends(id)).payload).toEqual(payload)
  })

  const bad: [string, unknown, number, string, string | null][] = [
    ['an unknown type', { type: 'emial' }, 422, 'unknown_type', '/type'],
    ['no type', { payload: {} }, 422, 'invalid_job', '/type'],
    ['a type that is no text', { type: 5 }, 422, 'invalid_job', '/type'],
    ['an unknown field', { ...EMAIL, prioritty: 1 }, 422, 'invalid_job', '/prioritty'],
    ['a priority out of range', { ...EMAIL, priority: 6 }, 422, 'invalid_job', '/priority'],
    ['a priority that is no whole number', { ...EMAIL, priority: 1.5 }, 422, 'invalid_job', '/priority'],
    ['a negative delay', { ...EMAIL, delay: -5 }, 422, 'invalid_job', '/delay'],
    ['a delay in words', { ...EMAIL, delay: 'soon' }, 422, 'invalid_job', '/delay'],
    ['a delay of centuries', { ...EMAIL, delay: '999999d' }, 422, 'invalid_job', '/delay'],
    ['a run_at without a zone', { ...EMAIL, run_at: '2030-01-01T00:00:00' }, 422, 'invalid_job', '/run_at'],
    ['a run_at in the year 300000', { ...EMAIL, run_at: '+300000-01-01T00:00:00Z' }, 422, 'invalid_job', '/run_at'],
    ['both delay and run_at', { ...EMAIL, delay: 5, run_at: '2030-01-01T00:00:00Z' }, 422, 'invalid_job', '/run_at'],
    ['a timeout above its type’s', { ...EMAIL, timeout: '10h' }, 422, 'invalid_job', '/timeout'],
    ['a timeout of nothing', { ...EMAIL, timeout: 0 }, 422, 'invalid_job', '/timeout'],
    ['too many retries', { ...EMAIL, retry_count: 101 }, 422, 'invalid_job', '/retry_count'],
    [
      'a payload that does not fit',
      { type: 'email', payload: { to: 'nobody', subject: 'x', body: 'y' } },
      422,
      'invalid_job',
      '/payload/to',
    ],
    [
      'a payload without a field',
      { type: 'email', payload: { to: 'a@b.c', body: 'y' } },
      422,
      'invalid_job',
      '/payload/subject',
    ],
    [
      'a payload with a field too many',
      { type: 'email', payload: { ...EMAIL.payload, 'x/y~z': 1 } },
      422,
      'invalid_job',
      '/payload/x~1y~0z',
    ],
    ['a list', [EMAIL], 422, 'invalid_job', ''],
    ['nothing', '', 400, 'malformed_request', null],
    ['half of JSON', '{"type":"email"', 400, 'malformed_request', null],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 400, 'malformed_request', null],
    [
      'a value nested 65 levels deep',
      `{"type":"greet","payload":${'['.repeat(64)}${']'.repeat(64)}}`,
      400,
      'malformed_request',
      null,
    ],
    [
      'a value nested 5,000 levels deep',
      `{"type":"greet","payload":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
      400,
      'malformed_request',
      null,
    ],
    ['a number that JavaScript cannot hold', '{"type":"greet","payload":{"n":1e400}}', 400, 'malformed_request', null],
  ]
  test('refuses bad input with a problem that names the field, and stores nothing', async () => {
    const { url, http } = await startService()
    for (const [what, body, status, code, pointer] of bad) {
      const content = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
      const response = await fetch(`${url}/jobs`, { method: 'POST', body: content })
      const problem = (await response.json()) as { code: string; errors?: { pointer: string; detail: string }[] }
      expect({ what, status: response.status, code: problem.code }).toEqual({ what, status, code })
      expect(response.headers.get('content-type'), what).toBe('application/problem+json')
      expect(problem, what).toMatchObject({
        type: `urn:jobmill:problem:${code}`,
        status,
        title: expect.any(String),
        detail: expect.any(String),
        instance: '/jobs',
      })
      if (pointer !== null)
        expect(
          problem.errors?.map((error) => error.pointer),
          what,
        ).toContain(pointer)
    }
    expect((await http.get('/jobs')).body).toEqual({ jobs: [], next_cursor: null })
  })

  test('accepts 64 levels and names the known types to who asks for another', async () => {
    const { url, http } = await theService()
    const deep = `{"type":"greet","payload":${'['.repeat(63)}${']'.repeat(63)}}`
    expect((await fetch(`${url}/jobs`, { method: 'POST', body: deep })).status).toBe(202)
    const { body } = await http.post('/jobs').send({ type: 'nope' }).expect(422)
    expect(body.errors[0].detail).toContain('email')
    expect(body.errors[0].detail).toContain('greet')
  })

  test.each([
    ['a compressed body', { 'content-encoding': 'gzip' }],
    ['another charset', { 'content-type': 'application/json; charset=utf-7' }],
    ['a multipart form', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['lines of JSON', { 'content-type': 'application/x-ndjson' }],
  ])('answers 415 to %s', async (_, headers) => {
    const { url } = await theService()
    const response = await fetch(`${url}/jobs`, {
      method: 'POST',
      headers: headers as Record<string, string>,
      body: JSON.stringify(EMAIL),
    })
    expect(response.status).toBe(415)
  })

  test('answers 413 to a body above the limit, and takes one that just fits', async () => {
    const { url } = await startService({ config: { server: { body_limit: '4KiB' } } })
    const sized = (size: number) => {
      const start = '{"type":"greet","payload":{"name":"'
      return `${start}${'x'.repeat(size - start.length - 3)}"}}`
    }
    expect((await fetch(`${url}/jobs`, { method: 'POST', body: sized(4_096) })).status).toBe(202)
    for (const size of [4_097, 3_000_000, 40_000_000]) {
      const response = await fetch(`${url}/jobs`, { method: 'POST', body: sized(size) })
      expect([size, response.status, ((await response.json()) as { code: string }).code]).toEqual([
        size,
        413,
        'body_too_large',
      ])
    }
  })

  test('does not wait for the rest of a body that ends early', async () => {
    const { url, http } = await startService()
    const { hostname, port } = new URL(url)
    const socket = createConnection(Number(port), hostname)
    socket.write(`POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"type":`)
    socket.end()
    socket.on('error', () => {}).resume()
    await new Promise((resolve) => socket.on('close', resolve))
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })
})

describe('a browser that is lured here', () => {
  test.each([
    ['another Host (DNS rebinding)', 'POST', { host: 'evil.example' }, 403, 'forbidden_host'],
    ['another Host when reading', 'GET', { host: 'evil.example:8080' }, 403, 'forbidden_host'],
    ['a foreign Origin', 'POST', { origin: 'https://evil.example' }, 403, 'forbidden_origin'],
    ['an opaque Origin', 'POST', { origin: 'null' }, 403, 'forbidden_origin'],
    ['Sec-Fetch-Site: cross-site', 'POST', { 'sec-fetch-site': 'cross-site' }, 403, 'forbidden_origin'],
    ['a foreign Origin when reading', 'GET', { origin: 'https://evil.example' }, 200, undefined],
  ])('with %s on %s', async (_, method, headers, status, code) => {
    const { http } = await theService()
    const request = method === 'GET' ? http.get('/jobs') : http.post('/jobs').send({ ...EMAIL, delay: 60 })
    const { body } = await request.set(headers as Record<string, string>).expect(status)
    expect(body.code).toBe(code)
  })

  test('is let in as a page of this very server', async () => {
    const { http, url } = await theService()
    const job = { ...EMAIL, delay: 60 }
    await http.post('/jobs').set({ origin: url, 'sec-fetch-site': 'same-origin' }).send(job).expect(202)
    for (const host of ['localhost:1234', '127.0.0.1', '[::1]:99', 'jobs.localhost']) {
      await http.post('/jobs').set({ host }).send(job).expect(202)
    }
  })

  test('gets no scripts to run and nothing to sniff', async () => {
    const { http } = await theService()
    const { headers } = await http.get('/jobs').expect(200)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
    })
    expect(headers['x-powered-by']).toBeUndefined()
  })
})

describe('the edges of HTTP', () => {
  test('unknown paths are 404, unknown methods 405 with what is allowed', async () => {
    const { http } = await theService()
    expect((await http.get('/nothing').expect(404)).body.code).toBe('not_found')
    const { headers, body } = await http.delete('/jobs').expect(405)
    expect([headers.allow, body.code]).toEqual(['POST, GET, HEAD', 'method_not_allowed'])
    await http.options('/jobs').expect(204)
    expect((await http.get('/jobs/%ZZ').expect(400)).body.code).toBe('malformed_request')
  })

  test('a request that is no HTTP is answered 400 and harms nobody', async () => {
    const { url, http } = await theService()
    expect(await raw(url, 'HELLO\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/)
    await http.get('/livez').expect(200)
  })
})
