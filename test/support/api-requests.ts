// Requests that reach every operation of the API, each with the status that it should have.
import type { startService } from './service.js'

export interface GoodRequest {
  method: string
  /** As the description has it. */
  path: string
  /** In place of its parameters. */
  values?: string[]
  query?: string
  init?: RequestInit
  expected: number
}

const json = (value: unknown, headers: Record<string, string> = {}) => ({ body: JSON.stringify(value), headers })
const html = { headers: { 'HX-Request': 'true' } }
const ndjson = (...lines: unknown[]) => ({
  body: lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''),
  headers: { 'Content-Type': 'application/x-ndjson' },
})

/** The service has the types greet, polite, picture and fails, and the digest ops. */
export async function* goodRequests(
  service: Awaited<ReturnType<typeof startService>>,
): AsyncGenerator<GoodRequest, void, undefined> {
  const { submit, ends, reaches, http } = service
  const greet = { type: 'greet', payload: { name: 'you' } }
  const later = { ...greet, delay: '1h' }

  const picture = await submit({ type: 'picture' })
  const failed = await submit({ type: 'fails' })
  const cancelled = await submit(later)
  await http.post(`/jobs/${cancelled.id}/cancel`).expect(200)
  await ends(picture.id)
  await ends(failed.id)
  const running = await submit({ type: 'polite' })
  await reaches(running.id, 'processing')

  // Jobs: submitted, read, listed.
  const jobs = { method: 'post', path: '/jobs' }
  yield { ...jobs, init: json(greet), expected: 202 }
  yield { ...jobs, init: { body: new URLSearchParams({ type: 'greet', 'payload[name]': 'you' }) }, expected: 202 }
  yield { ...jobs, init: { ...json(greet), ...html }, expected: 202 }
  yield { ...jobs, init: json({ ...later, start_by: '2099-01-01T00:00:00Z', tags: { a: 'b' } }), expected: 202 }
  yield { ...jobs, init: json(greet, { Prefer: 'wait=20' }), expected: 200 }
  yield { ...jobs, init: json(later, { 'Idempotency-Key': 'once' }), expected: 202 }
  yield { ...jobs, init: json(later, { 'Idempotency-Key': 'once' }), expected: 200 }
  yield { ...jobs, init: json(greet, { 'Idempotency-Key': 'once' }), expected: 422 }
  yield { ...jobs, init: json({ ...greet, depends_on: ['none'] }), expected: 422 }
  yield { ...jobs, init: json({ type: 'nobody' }), expected: 422 }
  yield { ...jobs, init: { ...json({ type: 'nobody' }), ...html }, expected: 422 }
  yield { ...jobs, init: { body: '{' }, expected: 400 }
  const doomed = await http.post('/jobs').set('Idempotency-Key', 'gone').send(later).expect(202)
  await http.post(`/jobs/${doomed.body.id}/cancel`).expect(200)
  await http.delete(`/jobs/${doomed.body.id}`).expect(204)
  yield { ...jobs, init: json(later, { 'Idempotency-Key': 'gone' }), expected: 409 }
  const list = { method: 'get', path: '/jobs' }
  yield { ...list, expected: 200 }
  yield { ...list, query: '?limit=1&status=completed,failed', expected: 200 }
  yield { ...list, query: '?limit=many', expected: 400 }

  const job = { method: 'get', path: '/jobs/{id}' }
  for (const { id } of [picture, failed, cancelled, running]) {
    yield { ...job, values: [id], expected: 200 }
    for (const part of ['attempts', 'logs', 'why', 'fragment', 'events'])
      yield { method: 'get', path: `/jobs/{id}/${part}`, values: [id], expected: 200 }
  }
  const { etag } = (await http.get(`/jobs/${picture.id}`)).headers
  yield { ...job, values: [picture.id], init: { headers: { 'If-None-Match': String(etag) } }, expected: 304 }
  yield { ...job, values: [picture.id], query: '?wait=61', expected: 400 }
  yield { ...job, values: ['none'], expected: 404 }
  yield { method: 'get', path: '/jobs/{id}/fragment', values: ['none'], init: html, expected: 404 }
  for (const part of ['attempts', 'logs', 'why', 'fragment', 'events'])
    yield { method: 'get', path: `/jobs/{id}/${part}`, values: ['none'], expected: 404 }
  for (const part of ['logs', 'fragment', 'events'])
    yield { method: 'get', path: `/jobs/{id}/${part}`, values: [picture.id], query: '?limit=0', expected: 400 }
  yield { method: 'get', path: '/events', query: '?type=greet', expected: 200 }
  yield { method: 'get', path: '/events', query: '?type=', expected: 400 }
  const last = (await http.get(`/jobs/${picture.id}/events`)).text.match(/^id: (.+)$/m)?.[1] ?? ''
  const resumed = { headers: { 'Last-Event-ID': last } }
  yield { method: 'get', path: '/jobs/{id}/events', values: [picture.id], init: resumed, expected: 204 }

  const artifact = { method: 'get', path: '/jobs/{id}/artifacts/{name}', values: [picture.id, 'a b.png'] }
  yield { ...artifact, expected: 200 }
  yield { ...artifact, init: { headers: { Range: 'bytes=2-5' } }, expected: 206 }
  yield { ...artifact, init: { headers: { Range: 'bytes=50-' } }, expected: 416 }
  yield { ...artifact, init: { headers: { 'If-None-Match': '*' } }, expected: 304 }
  yield { ...artifact, values: [picture.id, 'none'], expected: 404 }

  const patch = { method: 'patch', path: '/jobs/{id}' }
  const waiting = await submit(later)
  yield { ...patch, values: [waiting.id], init: json({ priority: 1, run_at: '2050-01-01T00:00:00Z' }), expected: 200 }
  yield { ...patch, values: [waiting.id], init: json({}), expected: 422 }
  yield { ...patch, values: [waiting.id], init: { body: 'no json' }, expected: 400 }
  yield { ...patch, values: [picture.id], init: json({ priority: 1 }), expected: 409 }
  yield { ...patch, values: [running.id], init: json({ priority: 1 }), expected: 409 }
  yield { ...patch, values: ['none'], init: json({ priority: 1 }), expected: 404 }

  // Jobs moved: one by one, and by a filter.
  const move = (verb: string) => ({ method: 'post', path: `/jobs/{id}/${verb}` })
  yield { ...move('cancel'), values: [waiting.id], init: json({ reason: 'enough' }), expected: 200 }
  yield { ...move('cancel'), values: [waiting.id], expected: 409 }
  yield { ...move('cancel'), values: [running.id], init: html, expected: 202 }
  yield { ...move('cancel'), values: ['none'], expected: 404 }
  yield { ...move('cancel'), values: ['none'], init: json({ reason: 5 }), expected: 422 }
  yield { ...move('cancel'), values: ['none'], init: { body: '[' }, expected: 400 }
  yield { ...move('rerun'), values: [failed.id], expected: 202 }
  await ends(failed.id)
  yield { ...move('rerun'), values: ['none'], expected: 404 }
  yield { ...move('rerun'), values: ['none'], init: { body: '[' }, expected: 400 }
  const open = await submit(later)
  yield { ...move('rerun'), values: [open.id], expected: 409 }
  const remove = { method: 'delete', path: '/jobs/{id}' }
  yield { ...remove, values: [open.id], expected: 409 }
  yield { ...remove, values: [cancelled.id], expected: 204 }
  yield { ...remove, values: [cancelled.id], expected: 404 }

  for (const verb of ['cancel', 'rerun']) {
    const bulk = { method: 'post', path: `/jobs/${verb}` }
    yield { ...bulk, init: json({ filter: { type: 'polite', created_after: '2020-01-01T00:00:00Z' } }), expected: 200 }
    yield { ...bulk, init: json({}), expected: 422 }
    yield { ...bulk, init: { body: '' }, expected: 422 }
    yield { ...bulk, init: { body: '{' }, expected: 400 }
  }

  // Batches.
  const batch = { method: 'post', path: '/jobs/batch' }
  const two = { jobs: [greet, greet], on_complete: greet }
  yield { ...batch, init: json(two), expected: 202 }
  yield { ...batch, init: json(two, { 'Idempotency-Key': 'batch' }), query: '?on_full=wait', expected: 202 }
  yield { ...batch, init: json(two, { 'Idempotency-Key': 'batch' }), expected: 200 }
  yield { ...batch, init: json({ jobs: [greet] }, { 'Idempotency-Key': 'batch' }), expected: 422 }
  yield { ...batch, init: ndjson(greet, { type: 'nobody' }, 'no json', '', { on_complete: greet }), expected: 202 }
  yield { ...batch, init: ndjson(), expected: 202 }
  yield { ...batch, init: json({ jobs: [] }), expected: 422 }
  yield { ...batch, query: '?on_full=maybe', expected: 400 }
  const ended = (
    await http
      .post('/jobs/batch')
      .set('Idempotency-Key', 'gone too')
      .send({ jobs: [later] })
  ).body.jobs[0].id
  await http.post(`/jobs/${ended}/cancel`).expect(200)
  await http.delete(`/jobs/${ended}`).expect(204)
  yield { ...batch, init: json({ jobs: [later] }, { 'Idempotency-Key': 'gone too' }), expected: 409 }
  const { batch_id } = (await http.post('/jobs/batch').send({ jobs: [later, later] })).body
  const busy = (await http.post('/jobs/batch').send({ jobs: [{ type: 'polite' }] })).body
  await reaches(busy.jobs[0].id, 'processing')
  yield { method: 'get', path: '/batches/{id}', values: [batch_id], expected: 200 }
  yield { method: 'get', path: '/batches/{id}', values: ['none'], expected: 404 }
  const stop = { method: 'post', path: '/batches/{id}/cancel' }
  yield { ...stop, values: [batch_id], init: json({ reason: 'enough' }), expected: 200 }
  yield { ...stop, values: [busy.batch_id], expected: 202 }
  yield { ...stop, values: ['none'], expected: 404 }
  yield { ...stop, values: [batch_id], init: json({ reason: '' }), expected: 422 }

  // Schedules.
  const tick = { method: 'put', path: '/schedules/{name}', values: ['nightly'] }
  yield { ...tick, init: json({ cron: '0 3 * * *', time_zone: 'Europe/Berlin', job: greet }), expected: 201 }
  yield { ...tick, init: json({ every: '1d', mode: 'fixed_delay', job: { type: 'polite' } }), expected: 200 }
  yield {
    ...tick,
    values: ['fields'],
    init: json({ fields: { hours: [[8, 18]] }, paused: true, job: greet }),
    expected: 201,
  }
  yield { ...tick, init: json({ every: '1d', cron: '* * * * *', job: greet }), expected: 422 }
  yield { ...tick, init: json({ every: '1d', job: { type: 'nobody' } }), expected: 422 }
  yield { ...tick, values: ['a name'], init: json({ every: '1d', job: greet }), expected: 422 }
  yield { ...tick, values: ['system.ticks'], init: json({ every: '1d', job: greet }), expected: 409 }
  yield { method: 'get', path: '/schedules', expected: 200 }
  yield { method: 'get', path: '/schedules', query: '?limit=2', expected: 200 }
  yield { method: 'get', path: '/schedules', query: '?cursor=a+b', expected: 400 }
  const part = (verb: string, method = 'post') => ({ method, path: `/schedules/{name}${verb}`, values: ['nightly'] })
  yield { ...part('/run'), expected: 202 }
  yield { ...part('/run'), expected: 409 }
  yield { ...part('/run'), values: ['digest.ops'], expected: 409 }
  yield { ...part('/run'), values: ['system.ticks'], expected: 200 }
  yield { ...part('/run'), values: ['none'], expected: 404 }
  for (const verb of ['/pause', '/resume']) {
    yield { ...part(verb), expected: 200 }
    yield { ...part(verb), values: ['system.ticks'], expected: 409 }
    yield { ...part(verb), values: ['none'], expected: 404 }
  }
  for (const name of ['nightly', 'fields', 'digest.ops', 'system.ticks', 'none']) {
    const expected = name === 'none' ? 404 : 200
    for (const verb of ['', '/next', '/history']) yield { ...part(verb, 'get'), values: [name], expected }
  }
  yield { ...part('/next', 'get'), values: ['fields'], query: '?count=3&from=2030-01-01T00:00:00Z', expected: 200 }
  for (const verb of ['/next', '/history']) yield { ...part(verb, 'get'), query: '?none=1', expected: 400 }
  yield { ...part('', 'delete'), expected: 204 }
  yield { ...part('', 'delete'), expected: 404 }
  yield { ...part('', 'delete'), values: ['digest.ops'], expected: 409 }

  // Digests.
  const event = { method: 'post', path: '/digests/{name}/events', values: ['ops'] }
  const preview = { method: 'get', path: '/digests/{name}/preview', values: ['ops'] }
  yield { ...preview, expected: 200 }
  yield { ...event, init: json({ kind: 'order', text: 'order 17' }), expected: 202 }
  yield { ...event, init: json({ kind: 'order', text: '' }), expected: 422 }
  yield { ...event, values: ['none'], init: json({ kind: 'order', text: 'x' }), expected: 404 }
  yield { ...preview, expected: 200 }
  yield { ...preview, values: ['none'], expected: 404 }
  yield { ...preview, query: '?a=b', expected: 400 }
  yield { method: 'get', path: '/digests', expected: 200 }
  yield { method: 'get', path: '/digests', query: '?a=b', expected: 400 }

  // Workers.
  yield { method: 'get', path: '/workers/stats', expected: 200 }
  yield { method: 'get', path: '/workers/stats', query: '?node=nobody', expected: 404 }
  yield { method: 'get', path: '/workers/stats', query: '?a=b', expected: 400 }
  const [{ id: node }] = (await http.get('/nodes')).body.nodes
  yield { method: 'get', path: '/nodes', expected: 200 }
  for (const verb of ['drain', 'resume']) {
    yield { method: 'post', path: `/nodes/{id}/${verb}`, values: [node], expected: 200 }
    yield { method: 'post', path: `/nodes/{id}/${verb}`, values: ['nobody'], expected: 404 }
  }
  yield { method: 'get', path: '/types', expected: 200 }
  yield { method: 'put', path: '/workers', init: json({ max_workers: 3 }), expected: 200 }
  yield { method: 'put', path: '/workers', query: '?node=all', init: json({ max_workers: 3 }), expected: 200 }
  yield { method: 'put', path: '/workers', query: '?node=nobody', init: json({ max_workers: 3 }), expected: 404 }
  yield { method: 'put', path: '/workers', query: '?nodes=all', init: json({ max_workers: 3 }), expected: 400 }
  yield { method: 'put', path: '/workers', init: json({ max_workers: 0 }), expected: 422 }
  for (const verb of ['pause', 'resume']) {
    yield { method: 'post', path: `/workers/${verb}`, init: json({ type: 'greet' }), expected: 200 }
    yield { method: 'post', path: `/workers/${verb}`, expected: 200 }
    yield { method: 'post', path: `/workers/${verb}`, init: json({ type: 'nobody' }), expected: 422 }
  }

  for (const path of ['/livez', '/readyz', '/metrics', '/openapi.json', '/docs'])
    yield { method: 'get', path, expected: 200 }
  const { headers } = await http.get('/openapi.json')
  const known = { headers: { 'If-None-Match': String(headers.etag) } }
  yield { method: 'get', path: '/openapi.json', init: known, expected: 304 }
}
