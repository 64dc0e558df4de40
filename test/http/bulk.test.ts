// POST /jobs/cancel and /jobs/rerun: many jobs by a filter, bounded, and told how many.
import { describe, expect, test } from 'vitest'
import { shareService, startService } from '../support/service.js'
import { until } from '../support/until.js'

const theService = shareService()

const statusesOf = (jobs: { status: string }[]) => jobs.map(({ status }) => status).sort()

describe('POST /jobs/cancel', () => {
  test('cancels what fits the filter, in whatever status, and nothing else', async () => {
    const { http, submit, reaches, ends, get } = await startService({ config: { worker: { max_workers: 1 } } })
    const running = await submit({ type: 'polite', payload: {} })
    await reaches(running.id, 'processing')
    const greets = [await submit({ type: 'greet' }), await submit({ type: 'greet', delay: 60 })]
    const other = await submit({ type: 'polite', delay: 60 })
    const { body } = await http
      .post('/jobs/cancel')
      .send({ filter: { type: 'greet' }, reason: 'a mistake' })
      .expect(200)
    expect(body).toEqual({ cancelled: 2, asked_to_stop: 0, more: false, next_cursor: null })
    for (const { id } of greets)
      expect(await get(id)).toMatchObject({ status: 'cancelled', reason_detail: 'a mistake' })
    expect(await get(other.id)).toMatchObject({ status: 'scheduled' })
    const all = await http.post('/jobs/cancel').send({ filter: {} }).expect(200)
    expect(all.body).toEqual({ cancelled: 1, asked_to_stop: 1, more: false, next_cursor: null })
    expect(await ends(running.id)).toMatchObject({ status: 'cancelled' })
  })

  test('by tag, batch and time, as lists do', async () => {
    const { http, submit, get } = await startService()
    const [mine, other] = [
      await submit({ type: 'greet', delay: 60, tags: { customer: '17' } }),
      await submit({ type: 'greet', delay: 60 }),
    ]
    const jobs = [{ type: 'greet', delay: 60 }]
    const { batch_id } = (await http.post('/jobs/batch').send({ jobs }).expect(202)).body
    const cancel = async (filter: object) =>
      (await http.post('/jobs/cancel').send({ filter }).expect(200)).body.cancelled
    expect(await cancel({ tag: 'customer:17' })).toBe(1)
    expect(await cancel({ batch: batch_id })).toBe(1)
    expect(await cancel({ created_after: '2999-01-01T00:00:00Z' })).toBe(0)
    expect([(await get(mine.id)).status, (await get(other.id)).status]).toEqual(['cancelled', 'scheduled'])
    await http
      .post('/jobs/rerun')
      .send({ filter: { tag: 'no tag' } })
      .expect(422)
    expect((await http.post('/jobs/rerun').send({ filter: { tag: 'customer:17' } })).body).toMatchObject({ rerun: 1 })
    expect(await cancel({ created_after: other.created_at })).toBe(0)
  })

  test('by status', async () => {
    const { http, submit, get } = await startService({ config: { worker: { max_workers: 1 } } })
    const [now, later] = [await submit({ type: 'polite', payload: {} }), await submit({ type: 'greet', delay: 60 })]
    const { body } = await http
      .post('/jobs/cancel')
      .send({ filter: { status: 'scheduled' } })
      .expect(200)
    expect(body).toEqual({ cancelled: 1, asked_to_stop: 0, more: false, next_cursor: null })
    expect((await get(later.id)).status).toBe('cancelled')
    expect((await get(now.id)).status).not.toBe('cancelled')
  })

  test('takes at most 1,000 a request, and says that there are more', async () => {
    const { http } = await startService({ config: { worker: { queue_size: 5_000 } } })
    const jobs = Array.from({ length: 1_050 }, () => http.post('/jobs').send({ type: 'greet', delay: 600 }).expect(202))
    await Promise.all(jobs)
    const cancel = async () => (await http.post('/jobs/cancel').send({ filter: {} }).expect(200)).body
    expect(await cancel()).toEqual({ cancelled: 1_000, asked_to_stop: 0, more: true, next_cursor: expect.any(String) })
    expect(await cancel()).toMatchObject({ cancelled: 50, more: false })
    expect(await cancel()).toMatchObject({ cancelled: 0, more: false })
  })

  test.each([
    [undefined, ''],
    [{}, '/filter'],
    [{ filter: { status: 'failed' } }, '/filter/status'],
    [{ filter: { status: [] } }, '/filter/status'],
    [{ filter: { tag: 'x' } }, '/filter/tag'],
    [{ filter: {}, limit: 5 }, '/limit'],
  ])('of %j is a 422', async (body, pointer) => {
    const { http } = await theService()
    const answer = await http.post('/jobs/cancel').send(body).expect(422)
    expect(answer.body).toMatchObject({ code: 'invalid_request', errors: [{ pointer }] })
  })
})

describe('POST /jobs/rerun', () => {
  test('runs final jobs again that fit, and leaves out those without a type', async () => {
    const { http, submit, ends, get } = await startService({ types: ['throws', 'again'] })
    const failed = [await submit({ type: 'throws' }), await submit({ type: 'throws' })]
    const fine = await submit({ type: 'greet' })
    for (const { id } of [...failed, fine]) await ends(id)
    const { body } = await http
      .post('/jobs/rerun')
      .send({ filter: { status: ['failed', 'cancelled'] } })
      .expect(200)
    expect(body).toEqual({ rerun: 2, without_type: 0, more: false, next_cursor: null })
    for (const { id } of failed)
      await until(
        'it has failed once more',
        async () => (await http.get(`/jobs/${id}/attempts`)).body.attempts.length === 2,
      )
    expect((await http.get(`/jobs/${fine.id}/attempts`)).body.attempts).toHaveLength(1)
    for (const { id } of failed) await ends(id)
    const all = await http.post('/jobs/rerun').send({ filter: {} }).expect(200)
    expect(all.body).toMatchObject({ rerun: 3, more: false })
    for (const { id } of [...failed, fine]) await until('it is final', async () => (await get(id)).finished_at !== null)
    expect(statusesOf((await http.get('/jobs')).body.jobs)).toEqual(['completed', 'failed', 'failed'])
  })

  test('goes on where it ended: jobs that have ended again meanwhile do not run a third time', async () => {
    const { http, submit } = await startService({ config: { worker: { queue_size: 5_000 } } })
    const submitted = Array.from({ length: 1_050 }, () =>
      submit({ type: 'greet', delay: '1h', payload: { name: 'x' } }),
    )
    await Promise.all(submitted)
    for (let more = true; more; ) more = (await http.post('/jobs/cancel').send({ filter: {} }).expect(200)).body.more
    const filter = { type: 'greet' }
    const first = (await http.post('/jobs/rerun').send({ filter }).expect(200)).body
    expect(first).toMatchObject({ rerun: 1_000, more: true })
    await http.post('/jobs/cancel').send({ filter: {} }).expect(200)
    const rest = (await http.post('/jobs/rerun').send({ filter, cursor: first.next_cursor }).expect(200)).body
    expect(rest).toMatchObject({ rerun: 50, more: false, next_cursor: null })
    const foreign = await http.post('/jobs/rerun').send({ filter: {}, cursor: first.next_cursor }).expect(400)
    expect(foreign.body.code).toBe('invalid_query')
  })

  test.each([
    [{}, '/filter'],
    [{ filter: { status: 'pending' } }, '/filter/status'],
    [{ filter: {}, reason: 'x' }, '/reason'],
  ])('of %j is a 422', async (body, pointer) => {
    const { http } = await theService()
    expect((await http.post('/jobs/rerun').send(body).expect(422)).body).toMatchObject({ errors: [{ pointer }] })
  })
})
