// GET /workers/stats: what it says of real jobs in real threads.
import { expect, test } from 'vitest'
import { startService } from '../support/service.js'

const NOTHING = { count: 0, p50: null, p95: null, p99: null, max: null }

test('names what it always named first, then the measures of a node on which nothing ran', async () => {
  const { http } = await startService({ config: { worker: { max_workers: 2 } } })
  const { body } = await http.get('/workers/stats').expect(200)
  expect(Object.keys(body)).toEqual([
    'active_workers',
    'queued_jobs',
    'completed_jobs',
    'failed_jobs',
    'cancelled_jobs',
    'jobs_by_status',
    'paused',
    'paused_types',
    'max_workers',
    'threads',
    'queue_size',
    'node',
    'since',
    'utilisation',
    'throughput',
    'wait_ms',
    'run_ms',
    'last_hour',
    'types',
    'slots',
  ])
  const none = { jobs_per_minute: 0, completed_per_minute: 0, failed_per_minute: 0, cancelled_per_minute: 0 }
  expect(body).toMatchObject({
    utilisation: { last_1m: 0, last_5m: 0, last_15m: 0 },
    throughput: { last_1m: none, last_5m: none, last_15m: none },
    wait_ms: NOTHING,
    run_ms: NOTHING,
    types: {},
    slots: [
      { slot: 1, job: null },
      { slot: 2, job: null },
    ],
  })
  expect(Date.parse(body.since)).toBeLessThanOrEqual(Date.now())
})

test('counts and measures each type for itself', async () => {
  const { http, submit, ends } = await startService({ types: ['throws', 'flaky'] })
  for (let i = 0; i < 3; i += 1) await ends((await submit({ type: 'greet', priority: 5 })).id)
  await ends((await submit({ type: 'throws' })).id)
  await ends((await submit({ type: 'flaky' })).id)
  await submit({ type: 'greet', delay: 3600 })
  const cancelled = await submit({ type: 'throws', delay: 3600 })
  await http.post(`/jobs/${cancelled.id}/cancel`).expect(200)

  const { types, wait_ms, run_ms, throughput } = (await http.get('/workers/stats').expect(200)).body
  const counts = { waiting: 0, scheduled: 0, pending: 0, processing: 0, retrying: 0 }
  expect(types).toMatchObject({
    greet: { ...counts, scheduled: 1, completed: 3, completed_jobs: 3, failed_jobs: 0, cancelled_jobs: 0 },
    throws: { ...counts, failed: 1, cancelled: 1, completed_jobs: 0, failed_jobs: 1, cancelled_jobs: 1 },
    flaky: { ...counts, completed: 1, completed_jobs: 1 },
  })
  // The two retries of `flaky` are runs too.
  const runs = { greet: 3, throws: 1, flaky: 3 }
  for (const [name, count] of Object.entries(runs)) {
    expect([types[name].wait_ms.count, types[name].run_ms.count], name).toEqual([count, count])
  }
  expect([wait_ms.count, run_ms.count]).toEqual([7, 7])
  // A low priority is no wait: its aging would be hours.
  expect(wait_ms.max).toBeLessThan(20_000)
  const { jobs_per_minute, completed_per_minute, failed_per_minute, cancelled_per_minute } = throughput.last_15m
  expect(completed_per_minute).toBeCloseTo(4 * failed_per_minute, 1)
  expect(cancelled_per_minute).toBe(failed_per_minute)
  expect(jobs_per_minute).toBeCloseTo(6 * failed_per_minute, 1)
})

test('shows the slots with what they run, and how busy they are', async () => {
  const { http, submit, reaches, ends, get } = await startService({ config: { worker: { max_workers: 2 } } })
  const { id } = await submit({ type: 'polite', payload: {} })
  await reaches(id, 'processing')
  await expect.poll(async () => (await get(id)).progress, { timeout: 20_000 }).toBe(10)
  const { started_at } = await get(id)
  const job = { id, type: 'polite', attempt: 1, started_at, progress: 10, progress_note: 'waiting for my signal' }
  const { node, slots, utilisation } = (await http.get('/workers/stats')).body
  expect(slots).toEqual([
    { node, slot: 1, job },
    { node, slot: 2, job: null },
  ])
  expect(utilisation.last_1m).toBeGreaterThan(0)
  expect(utilisation.last_1m).toBeLessThanOrEqual(0.5)

  const grown = (await http.put('/workers').send({ max_workers: 3 }).expect(200)).body
  expect([grown.max_workers, grown.slots.length, grown.slots[0].job.id]).toEqual([3, 3, id])
  await http.post(`/jobs/${id}/cancel`).expect(202)
  await ends(id)
  const { body } = await http.get('/workers/stats')
  expect(body.slots).toEqual([1, 2, 3].map((slot) => ({ node, slot, job: null })))
  expect(body.types.polite.run_ms.count).toBe(1)
})
