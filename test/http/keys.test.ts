// Idempotency-Key and unique_key over HTTP: one job however often it is asked for.
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { shareService, startService } from '../support/service.js'
import { typeFiles } from '../support/types.js'

const theService = shareService()

const JOB = { type: 'greet', payload: { name: 'you' }, delay: 60 }

describe('Idempotency-Key', () => {
  test('a second request gets the job of the first, and 200', async () => {
    const { http } = await startService()
    const post = () => http.post('/jobs').set('Idempotency-Key', 'order-17').send(JOB)
    const first = await post().expect(202)
    const second = await post().expect(200)
    expect(first.body).not.toHaveProperty('deduplicated')
    expect(second.body).toEqual({ ...first.body, deduplicated: true })
    expect(second.headers.location).toBe(`/jobs/${first.body.id}`)
    expect((await http.get('/jobs')).body.jobs).toHaveLength(1)
  })

  test('100 requests at once make one job', async () => {
    const { http } = await startService()
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => http.post('/jobs').set('Idempotency-Key', 'k').send(JOB)),
    )
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(99)
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
  })

  test('with another body is a 422, without harm to the job', async () => {
    const { http } = await startService()
    const first = await http.post('/jobs').set('Idempotency-Key', 'k').send(JOB).expect(202)
    const { body } = await http
      .post('/jobs')
      .set('Idempotency-Key', 'k')
      .send({ ...JOB, delay: 61 })
      .expect(422)
    expect(body).toMatchObject({ code: 'idempotency_key_reused', detail: expect.stringContaining(first.body.id) })
    expect((await http.get('/jobs')).body.jobs).toHaveLength(1)
  })

  test('is known when what it was sent with is not right any more', async () => {
    let now = 1_900_000_000_000
    const { http } = await startService({ now: () => now })
    const body = { ...JOB, delay: 3_600, start_by: new Date(now + 7_200_000).toISOString() }
    const post = (key: string) => http.post('/jobs').set('Idempotency-Key', key).send(body)
    const batch = () =>
      http
        .post('/jobs/batch')
        .set('Idempotency-Key', 'b')
        .send({ jobs: [JOB, body] })
    const [first, whole] = [await post('k').expect(202), await batch().expect(202)]
    now += 10_000_000
    expect((await post('k').expect(200)).body).toMatchObject({ id: first.body.id, deduplicated: true })
    const { body: again } = await batch().expect(200)
    expect(again.batch_id).toBe(whole.body.batch_id)
    expect(again.jobs.map(({ id }: { id: string }) => id)).toEqual(whole.body.jobs.map(({ id }: { id: string }) => id))
    await post('other').expect(422)
  })

  test('is known when its job was deleted: no second one is made', async () => {
    const { http } = await startService()
    const post = () => http.post('/jobs').set('Idempotency-Key', 'k').send(JOB)
    const { id } = (await post().expect(202)).body
    await http.post(`/jobs/${id}/cancel`).expect(200)
    await http.delete(`/jobs/${id}`).expect(204)
    expect((await post().expect(409)).body).toMatchObject({ code: 'job_deleted', detail: expect.stringContaining(id) })
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })

  test('is known while the queue is full', async () => {
    const { http, submit, reaches } = await startService({ config: { worker: { max_workers: 1, queue_size: 1 } } })
    await reaches((await submit({ type: 'endless' })).id, 'processing')
    const post = (key: string) => http.post('/jobs').set('Idempotency-Key', key).send({ type: 'greet' })
    await post('a').expect(202)
    await post('b').expect(503)
    await post('a').expect(200)
  })

  test('of one API key is not that of another', async () => {
    const keys = [1, 2].map((n) => `jm_key-number-${n}-of-the-test`)
    const { sha256Of } = await import('../../src/api-key.js')
    const known = keys.map((key, i) => ({ name: `k${i}`, sha256: sha256Of(key), scopes: ['jobs:write'] }))
    const { http } = await startService({ config: { auth: { keys: known } } })
    for (const key of keys) {
      const post = () => http.post('/jobs').set('Authorization', `Bearer ${key}`).set('Idempotency-Key', 'k').send(JOB)
      await post().expect(202)
      await post().expect(200)
    }
  })

  test('survives kill -9', async () => {
    const folder = freshFolder({ ...typeFiles(['greet']), 'config.yaml': { worker: { types: ['types'] } } })
    const post = async (url: string) => {
      const answer = await fetch(`${url}/jobs`, {
        method: 'POST',
        headers: { 'Idempotency-Key': 'k' },
        body: JSON.stringify(JOB),
      })
      return { status: answer.status, id: ((await answer.json()) as { id: string }).id }
    }
    const first = await startProcess(folder)
    const { id, status } = await post(first.url)
    expect(status).toBe(202)
    await first.kill('SIGKILL')
    const second = await startProcess(folder)
    expect(await post(second.url)).toEqual({ id, status: 200 })
  })

  test('with Prefer: wait answers both with the result', async () => {
    const { http } = await startService()
    const post = () =>
      http
        .post('/jobs')
        .set('Idempotency-Key', 'k')
        .set('Prefer', 'wait=30')
        .send({ ...JOB, delay: 0 })
    const [first, second] = await Promise.all([post(), post()])
    for (const { status, body } of [first, second]) expect([status, body.status]).toEqual([200, 'completed'])
    expect(first.body.id).toBe(second.body.id)
  })

  test.each(['', 'x'.repeat(256)])('that is none ("%s") is a 400 that says so', async (key) => {
    const { http } = await theService()
    const { body } = await http.post('/jobs').set('Idempotency-Key', key).send(JOB).expect(400)
    expect(body).toMatchObject({ code: 'malformed_request', detail: 'Idempotency-Key must have 1 to 255 characters' })
  })
})

describe('unique_key', () => {
  test('makes one job of a type until it is final', async () => {
    const { http, ends } = await startService()
    const job = { type: 'greet', unique_key: 'nightly', payload: { name: 'a' } }
    const first = await http
      .post('/jobs')
      .send({ ...job, delay: 60 })
      .expect(202)
    const second = await http
      .post('/jobs')
      .send({ ...job, payload: { name: 'b' } })
      .expect(200)
    expect(second.body).toMatchObject({ id: first.body.id, deduplicated: true, payload: { name: 'a' } })
    await http
      .post('/jobs')
      .send({ ...job, type: 'polite', delay: 60 })
      .expect(202)
    await http.post(`/jobs/${first.body.id}/cancel`).expect(200)
    const third = await http.post('/jobs').send(job).expect(202)
    await ends(third.body.id)
    await http.post('/jobs').send(job).expect(202)
  })

  test('with unique_for is taken that long at least', async () => {
    const { http, ends } = await startService()
    const job = { type: 'greet', unique_key: 'k', unique_for: '1h', payload: { name: 'a' } }
    const { id } = (await http.post('/jobs').send(job).expect(202)).body
    await ends(id)
    expect((await http.post('/jobs').send(job).expect(200)).body).toMatchObject({ id, status: 'completed' })
  })

  test.each([
    [{ unique_key: '' }, '/unique_key'],
    [{ unique_key: 'x'.repeat(256) }, '/unique_key'],
    [{ unique_key: 5 }, '/unique_key'],
    [{ unique_for: '1h' }, '/unique_for'],
    [{ unique_key: 'k', unique_for: -1 }, '/unique_for'],
    [{ unique_key: 'k', unique_for: '9000w' }, '/unique_for'],
    [{ unique_key: 'k', unique_for: 'soon' }, '/unique_for'],
  ])('%j is a 422', async (fields, pointer) => {
    const { http } = await theService()
    const { body } = await http
      .post('/jobs')
      .send({ type: 'greet', ...fields })
      .expect(422)
    expect(body.errors).toEqual([{ pointer, detail: expect.stringContaining('must') }])
  })
})
