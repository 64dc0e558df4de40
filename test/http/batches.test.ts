// POST /jobs/batch, whole or line by line, and what becomes of a batch.
import { execFileSync } from 'node:child_process'
import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { startService } from '../support/service.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

const NDJSON = { 'content-type': 'application/x-ndjson' }
const greet = (name: string, more: object = {}) => ({ type: 'greet', payload: { name }, ...more })
const lines = (...values: unknown[]) =>
  values.map((value) => `${typeof value === 'string' ? value : JSON.stringify(value)}\n`).join('')

async function send(url: string, body: string | Uint8Array<ArrayBuffer>, query = '') {
  const init = { method: 'POST', headers: NDJSON, body, duplex: 'half' } as RequestInit
  const answer = await fetch(`${url}/jobs/batch${query}`, init)
  const text = await answer.text()
  const location = answer.headers.get('location')
  if (!answer.headers.get('content-type')?.includes('ndjson')) return { answer, location, entries: [JSON.parse(text)] }
  const parsed = text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
  return { answer, location, entries: parsed }
}

/** Bytes. */
function rssOf(pid: number | undefined): number {
  return 1_024 * Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }))
}

describe('a JSON batch', () => {
  test('stores all of its jobs under one id, and tells how far they are', async () => {
    const { http, ends } = await startService()
    const jobs = [greet('a'), greet('b'), { type: 'greet', delay: 3_600 }]
    const { body, headers } = await http.post('/jobs/batch').send({ jobs }).expect(202)
    expect(headers.location).toBe(`/batches/${body.batch_id}`)
    expect(body.jobs.map((job: { batch_id: string }) => job.batch_id)).toEqual(Array(3).fill(body.batch_id))
    for (const { id } of body.jobs.slice(0, 2)) await ends(id)
    const batch = (await http.get(headers.location as string).expect(200)).body
    expect(batch).toMatchObject({ id: body.batch_id, status: 'running', progress: 66, total: 3, open: false })
    expect(batch.jobs).toMatchObject({ completed: 2, scheduled: 1, pending: 0 })
    const listed = (await http.get(`/jobs?batch=${body.batch_id}&status=completed`)).body.jobs
    expect(listed).toHaveLength(2)
    await http.get('/batches/none').expect(404)
  })

  test('stores none where one is wrong, and points at each that is', async () => {
    const { http } = await startService()
    const jobs = [greet('a'), { type: 'nope' }, greet('c', { priority: 9, retry_count: -1 }), greet('d'), 7]
    const { body } = await http.post('/jobs/batch').send({ jobs }).expect(422)
    expect(body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()).toEqual(
      ['/jobs/1/type', '/jobs/2/priority', '/jobs/2/retry_count', '/jobs/4'].sort(),
    )
    const on_complete = greet('z', { depends_on: ['x'] })
    const other = await http
      .post('/jobs/batch')
      .send({ jobs: [greet('a')], on_complete })
      .expect(422)
    expect(other.body.errors).toMatchObject([{ pointer: '/on_complete/depends_on' }])
    const unique = await http
      .post('/jobs/batch')
      .send({ jobs: [greet('a')], on_complete: greet('z', { unique_key: 'u' }) })
      .expect(422)
    expect(unique.body.errors).toMatchObject([{ pointer: '/on_complete/unique_key' }])
    const lost = await http
      .post('/jobs/batch')
      .send({ jobs: [greet('a', { depends_on: ['x'] })] })
      .expect(422)
    expect(lost.body).toMatchObject({ code: 'unknown_dependency', errors: [{ pointer: '/jobs/0/depends_on/0' }] })
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })

  test('that is none is a 422', async () => {
    const { http } = await startService()
    const bodies: [object | undefined, string][] = [
      [undefined, ''],
      [[], ''],
      [{}, '/jobs'],
      [{ jobs: [] }, '/jobs'],
      [{ jobs: {} }, '/jobs'],
      [{ jobs: [greet('a')], x: 1 }, '/x'],
      [{ jobs: Array(1_001).fill(greet('a')) }, '/jobs'],
    ]
    for (const [body, pointer] of bodies) {
      const answer = await http.post('/jobs/batch').send(body).expect(422)
      expect(answer.body).toMatchObject({ code: 'invalid_request', errors: [{ pointer }] })
    }
    const empty = await http.post('/jobs/batch').send({ jobs: [] })
    expect(empty.body.errors[0].detail).toContain('at least one job')
  })

  test('that does not fit the queue is a 503 that says so, and takes nothing', async () => {
    const { http } = await startService({ config: { worker: { queue_size: 5, max_workers: 1 } } })
    const jobs = Array.from({ length: 6 }, () => greet('a'))
    const { body, headers } = await http.post('/jobs/batch').send({ jobs }).expect(503)
    expect([body.code, Number(headers['retry-after']) > 0]).toEqual(['queue_full', true])
    expect(body.detail).toContain('queue_size is 5')
    expect((await http.get('/jobs')).body.jobs).toEqual([])
    await http.post('/jobs/batch?on_full=wait').send({ jobs }).expect(503)
    await http.post('/jobs/batch?on_full=never').send({ jobs }).expect(400)
  })

  test('with on_full=wait is stored when there is room', async () => {
    const { http, submit, reaches } = await startService({ config: { worker: { queue_size: 3, max_workers: 1 } } })
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    for (let i = 0; i < 3; i += 1) await submit(greet('first'))
    let answered = false
    const jobs = [greet('a'), greet('b'), greet('c')]
    const answer = http
      .post('/jobs/batch?on_full=wait')
      .send({ jobs })
      .then((response) => {
        answered = true
        return response
      })
    for (let i = 0; i < 10; i += 1) await http.get('/jobs')
    expect(answered).toBe(false)
    await http.post(`/jobs/${running.id}/cancel`).expect(202)
    expect((await answer).status).toBe(202)
  })

  test('with on_full=wait that could never fit its types is refused at once', async () => {
    const { http } = await startService({ config: { jobs: { greet: { queue_size: 1 } } } })
    const jobs = [greet('a'), greet('b')]
    expect((await http.post('/jobs/batch?on_full=wait').send({ jobs }).expect(503)).body.detail).toContain('greet')
  })

  test('of jobs that were all there before has its on_complete job, and the same batch when it is sent again', async () => {
    const { http, submit } = await startService()
    const { id } = await submit(greet('a', { unique_key: 'u', delay: 60 }))
    const body = { jobs: [greet('a', { unique_key: 'u', delay: 60 })], on_complete: greet('end') }
    const post = () => http.post('/jobs/batch').set('Idempotency-Key', 'k').send(body)
    const first = (await post().expect(202)).body
    expect(first).toMatchObject({ batch_id: expect.any(String), jobs: [{ id, deduplicated: true }] })
    expect((await post().expect(200)).body).toMatchObject({ batch_id: first.batch_id, on_complete: first.on_complete })
  })

  test('sent twice with one Idempotency-Key is stored once', async () => {
    const { http } = await startService()
    const body = { jobs: [greet('a'), greet('b')], on_complete: greet('last') }
    const post = () => http.post('/jobs/batch').set('Idempotency-Key', 'order-17').send(body)
    const [first, second] = [await post().expect(202), await post().expect(200)]
    expect(second.body.batch_id).toBe(first.body.batch_id)
    expect(second.body.jobs.map(({ id }: { id: string }) => id)).toEqual(
      first.body.jobs.map(({ id }: { id: string }) => id),
    )
    expect(second.body.jobs[0]).toMatchObject({ deduplicated: true })
    expect([second.body.on_complete, second.body.jobs.length]).toEqual([first.body.on_complete, 2])
    await post()
      .send({ jobs: [greet('c')] })
      .expect(422)
    expect((await http.get('/jobs')).body.jobs).toHaveLength(3)
  })

  test('runs its on_complete job once, when all others are final', async () => {
    const { http, ends, get, reaches } = await startService({ types: ['throws'] })
    const jobs = [greet('a'), { type: 'throws' }, { type: 'polite', payload: {} }]
    const { body } = await http
      .post('/jobs/batch')
      .send({ jobs, on_complete: greet('last') })
      .expect(202)
    const [first, second, third] = body.jobs
    await ends(first.id)
    await ends(second.id)
    await reaches(third.id, 'processing')
    expect((await get(body.on_complete)).status).toBe('waiting')
    const why = (await http.get(`/jobs/${body.on_complete}/why`)).body
    expect(why.waits_for).toMatchObject([{ kind: 'batch', batch_id: body.batch_id, left: 1 }])
    await http.post(`/jobs/${third.id}/cancel`)
    expect(await ends(body.on_complete)).toMatchObject({ status: 'completed', result: { greeting: 'Hello, last' } })
    expect((await http.get(`/batches/${body.batch_id}`)).body).toMatchObject({
      status: 'final',
      progress: 100,
      on_complete: body.on_complete,
    })
  })

  test('is cancelled as a whole', async () => {
    const { http, reaches, ends, submit } = await startService({ config: { worker: { max_workers: 1 } } })
    const jobs = [{ type: 'polite', payload: {} }, greet('a'), { type: 'greet', delay: 60 }]
    const { body } = await http.post('/jobs/batch').send({ jobs })
    const other = await submit({ type: 'greet', delay: 60 })
    await reaches(body.jobs[0].id, 'processing')
    const answer = await http.post(`/batches/${body.batch_id}/cancel`).send({ reason: 'recalled' }).expect(202)
    expect(answer.body.jobs).toMatchObject({ cancelled: 2, processing: 1 })
    expect(await ends(body.jobs[0].id)).toMatchObject({ status: 'cancelled', reason_detail: 'recalled' })
    await http.post(`/batches/${body.batch_id}/cancel`).expect(200)
    expect((await http.get(`/jobs/${other.id}`)).body.status).toBe('scheduled')
    await http.post('/batches/none/cancel').expect(404)
  })
})

describe('an NDJSON batch', () => {
  test('has one answer for each line, in their order; a broken line fails alone', async () => {
    const { url, http } = await startService()
    const body = lines(greet('a'), '{broken', greet('b', { priority: 9 }), '', greet('c'), { type: 'nope' }, 'null')
    const { answer, entries, location } = await send(url, `${body}${JSON.stringify(greet('last line'))}`)
    expect(answer.status).toBe(202)
    expect(entries.map(({ line, status, error }) => [line, status ?? error.code])).toEqual([
      [undefined, 'pending'],
      [2, 'malformed_request'],
      [3, 'invalid_job'],
      [undefined, 'pending'],
      [6, 'unknown_type'],
      [7, 'invalid_job'],
      [undefined, 'pending'],
    ])
    expect(entries[2].error.errors).toMatchObject([{ pointer: '/priority' }])
    const batch = (await http.get(location as string)).body
    expect([batch.total, batch.open]).toEqual([3, false])
  })

  test('stores any number of jobs beyond queue_size as they are run, without losing or doubling one', async () => {
    const { url, http } = await startService({ config: { worker: { queue_size: 20, max_workers: 2 } } })
    const { entries, location } = await send(url, lines(...Array.from({ length: 300 }, (_, i) => greet(`n${i}`))))
    expect(new Set(entries.map(({ id }) => id)).size).toBe(300)
    await until('all are final', async () => (await http.get(location as string)).body.status === 'final')
    expect((await http.get(location as string)).body.jobs).toMatchObject({ completed: 300 })
  })

  test('with on_full=reject refuses the lines that have no room', async () => {
    const { url, http } = await startService({ config: { worker: { queue_size: 5 } } })
    await http.post('/workers/pause').send({}).expect(200)
    const body = lines(...Array.from({ length: 12 }, (_, i) => greet(`n${i}`)))
    const { entries } = await send(url, body, '?on_full=reject')
    expect(entries.map(({ status, error }) => status ?? error.code)).toEqual([
      ...Array(5).fill('pending'),
      ...Array(7).fill('queue_full'),
    ])
  })

  test('answers while lines still come, and its on_complete job waits for the end of the stream', async () => {
    const { url, http, ends } = await startService()
    const answers: string[] = []
    const client = request(`${url}/jobs/batch`, { method: 'POST', headers: NDJSON })
    client.on('response', (response) => response.setEncoding('utf8').on('data', (text) => answers.push(text)))
    const answered = (n: number) =>
      until(`${n} answers`, () => answers.join('').split('\n').length > n && answers.join('').split('\n'))
    client.write(lines(greet('a'), { on_complete: greet('end') }))
    const [first, last] = (await answered(2)).slice(0, 2).map((line) => JSON.parse(line))
    await ends(first.id)
    expect((await http.get(`/jobs/${last.id}`)).body.status).toBe('waiting')
    client.write(JSON.stringify(greet('in two')).slice(0, 10))
    client.write(`${JSON.stringify(greet('in two')).slice(10)}\n`)
    await answered(3)
    client.end()
    expect(await ends(last.id)).toMatchObject({ status: 'completed' })
  })

  test('of nothing but broken lines holds nobody up', async () => {
    const { url, http } = await startService()
    const sent = send(url, '1\n'.repeat(30_000))
    let answered = 0
    let open = true
    const asking = (async () => {
      for (; open; answered += 1) await http.get('/livez').expect(200)
    })()
    const { entries } = await sent
    open = false
    await asking
    expect(entries).toHaveLength(30_000)
    expect(entries.at(-1)).toMatchObject({ line: 30_000, error: { code: 'invalid_job' } })
    expect(answered).toBeGreaterThan(4)
  })

  test('ends its batch when the database is free again, though it was locked when the stream ended', async () => {
    const { url, http, ends, path, lines: logged } = await startService()
    const answers: string[] = []
    const client = request(`${url}/jobs/batch`, { method: 'POST', headers: NDJSON })
    const ended = new Promise((resolve) => {
      client.on('response', (response) => {
        response.setEncoding('utf8').on('data', (text) => answers.push(text))
        response.on('end', resolve)
      })
    })
    client.write(lines(greet('a'), { on_complete: greet('end') }))
    await until('two answers', () => answers.join('').split('\n').length > 2)
    const [first, last] = answers
      .join('')
      .split('\n')
      .slice(0, 2)
      .map((line) => JSON.parse(line))
    await ends(first.id)
    const other = new Database(path('jobs.db'))
    other.exec('BEGIN IMMEDIATE')
    client.end()
    await until('the write was refused', () => logged.some(({ doing }) => String(doing).startsWith('closing batch')))
    other.exec('COMMIT')
    other.close()
    expect(await ends(last.id)).toMatchObject({ status: 'completed' })
    await ended
    expect((await http.get(`/batches/${(await http.get(`/jobs/${first.id}`)).body.batch_id}`)).body.open).toBe(false)
  })

  test('stores no line any more when its batch is cancelled', async () => {
    const { url, http, get } = await startService()
    let text = ''
    const answers = () =>
      text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line))
    const client = request(`${url}/jobs/batch`, { method: 'POST', headers: NDJSON })
    const ended = new Promise<string>((resolve) => {
      client.on('response', (response) => {
        response.on('data', (piece) => (text += piece)).on('end', () => resolve(String(response.headers.location)))
      })
    })
    client.write(lines(greet('a', { delay: 3_600 })))
    const first = await until('an answer', () => answers()[0])
    const { batch_id } = (await http.get(`/jobs/${first.id}`)).body
    await http.post(`/batches/${batch_id}/cancel`).expect(200)
    client.end(lines(greet('b'), greet('c')))
    expect(await ended).toBe(`/batches/${batch_id}`)
    expect(answers().slice(1)).toMatchObject(
      [2, 3].map((line) => ({ line, error: { code: 'batch_closed', status: 409 } })),
    )
    expect((await get(first.id)).status).toBe('cancelled')
    expect((await http.get('/jobs')).body.jobs).toHaveLength(1)
  })

  test('that breaks off keeps what was answered, and ends its batch', async () => {
    const { url, http, ends } = await startService()
    let text = ''
    const client = request(`${url}/jobs/batch`, { method: 'POST', headers: NDJSON })
    client.on('error', () => {})
    client.on('response', (response) => response.on('data', (piece) => (text += piece)).on('error', () => {}))
    client.write(lines({ on_complete: greet('end') }, greet('a')))
    await until('two answers', () => text.split('\n').length > 2)
    client.destroy()
    const [last, first] = text.split('\n', 2).map((line) => JSON.parse(line))
    expect(await ends(first.id)).toMatchObject({ status: 'completed' })
    expect(await ends(last.id)).toMatchObject({ status: 'completed' })
    expect((await http.get('/jobs')).body.jobs).toHaveLength(2)
  })

  test('has lines as long as a job may be, and drops longer ones without keeping them', async () => {
    const { url } = await startService({ config: { limits: { payload: '10KiB' } } })
    const long = JSON.stringify(greet('x'.repeat(9_000)))
    const { entries } = await send(url, lines(long, `"${'y'.repeat(3_000_000)}"`, greet('b')))
    expect(entries.map(({ status, error }) => status ?? error.code)).toEqual(['pending', 'body_too_large', 'pending'])
  })

  test('is refused with an Idempotency-Key, with bytes that are no UTF-8, and with a second on_complete', async () => {
    const { url, http } = await startService()
    await http
      .post('/jobs/batch')
      .set(NDJSON)
      .set('Idempotency-Key', 'k')
      .send(lines(greet('a')))
      .expect(400)
    await http
      .post('/jobs/batch')
      .set({ ...NDJSON, 'content-encoding': 'gzip' })
      .send(lines(greet('a')))
      .expect(415)
    const bytes = Buffer.concat([Buffer.from('{"type":"gr\xff"}\n', 'latin1'), Buffer.from(lines(greet('a')))])
    const twice = lines({ on_complete: greet('x') }, { on_complete: greet('y') })
    const { entries } = await send(url, Buffer.concat([bytes, Buffer.from(twice)]))
    expect(entries.map(({ status, error }) => status ?? error.code)).toEqual([
      'malformed_request',
      'pending',
      'waiting',
      'invalid_job',
    ])
    const empty = await send(url, '\n\n')
    expect([empty.answer.status, empty.entries]).toEqual([202, []])
  })

  test('of hundreds of thousands of jobs takes the same memory, and is in the file after a kill -9', async () => {
    const config = { worker: { types: ['types'], queue_size: 1_000_000 }, data: { max_stored: 1_000_000 } }
    const folder = freshFolder({ ...typeFiles(['greet']), 'config.yaml': config })
    const service = await startProcess(folder)
    await fetch(`${service.url}/workers/pause`, { method: 'POST', body: '{}' })
    const piece = Buffer.from(lines(...Array.from({ length: 1_000 }, (_, i) => greet(`n${i}`))))
    async function* pieces(n: number) {
      for (let i = 0; i < n; i += 1) yield piece
    }
    const stream = async (n: number) => {
      const init = { method: 'POST', headers: NDJSON, body: ReadableStream.from(pieces(n)), duplex: 'half' }
      const answer = await fetch(`${service.url}/jobs/batch`, init as RequestInit)
      let count = 0
      for await (const bytes of answer.body as ReadableStream<Uint8Array>)
        for (const byte of bytes) if (byte === 10) count += 1
      return count
    }
    // What V8 and SQLite keep for themselves has grown to its size after some 60,000.
    expect(await stream(60)).toBe(60_000)
    const before = rssOf(service.child.pid)
    expect(await stream(80)).toBe(80_000)
    expect(rssOf(service.child.pid) - before).toBeLessThan(50 * 1_048_576)
    await service.kill('SIGKILL')
    const again = await startProcess(folder)
    const stats = (await (await fetch(`${again.url}/workers/stats`)).json()) as { queued_jobs: number }
    expect(stats.queued_jobs).toBe(140_000)
  }, 60_000)
})
