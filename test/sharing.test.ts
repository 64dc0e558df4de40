// Slots and threads under load: reserved slots, bounds of a type, threads that come and go with the work.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startService } from './support/service.js'
import { until } from './support/until.js'

test('ten long jobs of one type do not delay a mail where a slot is reserved for it', async () => {
  const { submit, ends, reaches, http, folder } = await startService({
    config: { worker: { max_workers: 3 }, jobs: { email: { reserved: 1 } } },
  })
  const long = await Promise.all(Array.from({ length: 10 }, () => submit({ type: 'polite', payload: {}, priority: 1 })))
  await until('they take all slots but one', async () => {
    const { body } = await http.get('/workers/stats')
    return body.active_workers === 2 && body.queued_jobs === 8
  })
  const payload = { to: 'user@example.com', subject: 'Hello', body: 'not delayed' }
  const mail = await ends((await submit({ type: 'email', payload })).id)
  expect(mail.status).toBe('completed')
  expect(readdirSync(join(folder, 'data/outbox'))).toEqual([`${mail.id}.eml`])
  expect((await http.get('/workers/stats')).body).toMatchObject({ active_workers: 2, queued_jobs: 8 })
  for (const { id } of long) await http.post(`/jobs/${id}/cancel`)
  for (const { id } of long) await reaches(id, 'cancelled')
})

test('without a reserved slot the mail waits: the test above can fail', async () => {
  const { submit, reaches, ends, http } = await startService({ config: { worker: { max_workers: 2 } } })
  const long = [await submit({ type: 'polite', payload: {} }), await submit({ type: 'polite', payload: {} })]
  for (const { id } of long) await reaches(id, 'processing')
  const payload = { to: 'user@example.com', subject: 'Hello', body: 'waits' }
  const { id } = await submit({ type: 'email', payload })
  await http.post(`/jobs/${long[0]?.id}/cancel`).expect(202)
  const [first, mail] = [await ends(String(long[0]?.id)), await ends(id)]
  expect(Date.parse(String(mail.started_at))).toBeGreaterThanOrEqual(Date.parse(String(first.finished_at)))
})

test('no more jobs of a type run at once than its concurrency, of the file or of the configuration', async () => {
  const one = `import { once } from 'node:events'
    export default { concurrency: 1, retry_count: 0, timeout: '20s',
      async run(_, ctx) { if (!ctx.signal.aborted) await Promise.all([ctx.progress(1), once(ctx.signal, 'abort')]) } }`
  const { submit, reaches, http, get } = await startService({
    files: { 'types/one.mjs': one, 'types/two.mjs': one },
    config: { worker: { max_workers: 6 }, jobs: { two: { concurrency: 2 } } },
  })
  const jobs = []
  for (const type of ['one', 'two', 'one', 'two', 'one', 'two', 'greet']) jobs.push(await submit({ type }))
  await reaches(String(jobs.at(-1)?.id), 'completed')
  await until('three run', async () => (await http.get('/workers/stats')).body.active_workers === 3)
  const status = await Promise.all(jobs.map(async ({ id }) => (await get(id)).status))
  expect(status).toEqual(['processing', 'processing', 'pending', 'processing', 'pending', 'pending', 'completed'])
})

test('threads follow the work: as many as there are running jobs, and min_workers when it is done', async () => {
  const { submit, reaches, http } = await startService({
    config: { worker: { max_workers: 5, min_workers: 2 } },
    idle_ms: 500,
  })
  const threads = async () => (await http.get('/workers/stats')).body.threads
  await until('min_workers are there', async () => (await threads()) === 2)
  const jobs = await Promise.all(Array.from({ length: 5 }, () => submit({ type: 'polite', payload: {} })))
  for (const { id } of jobs) await reaches(id, 'processing')
  await until('each has a thread', async () => (await threads()) === 5)
  for (const { id } of jobs) await http.post(`/jobs/${id}/cancel`)
  await until('idle threads have left', async () => (await threads()) === 2)
})
