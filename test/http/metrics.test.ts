// GET /metrics: the values are those of the service, and Prometheus' own checker finds nothing wrong.
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { startService } from '../support/service.js'

const PROMTOOL = spawnSync('promtool', ['--version']).status === 0

/** By name and labels as they stand there. */
function read(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const [, name = '', value] = /^(\S+(?: \S+)*?) (\S+)$/.exec(line) ?? []
      return [name, Number(value)]
    }),
  )
}

async function worked() {
  const service = await startService({
    types: ['flaky', 'throws'],
    config: { worker: { max_workers: 3, queue_size: 5 } },
  })
  const { submit, ends, http } = service
  const ids = [
    await submit({ type: 'greet', payload: { name: 'you' } }),
    await submit({ type: 'flaky' }),
    await submit({ type: 'throws' }),
  ]
  for (const { id } of ids) await ends(id)
  await http.post('/jobs').send({ type: 'none' }).expect(422)
  await http
    .post('/jobs/batch')
    .set('content-type', 'application/x-ndjson')
    .send('{"type":"none"}\n{"type":"none"}\n')
    .expect(202)
  await http.get('/jobs/none').expect(404)
  return service
}

test('the metrics are what happened', async () => {
  const { http, reaches, submit } = await worked()
  const running = await submit({ type: 'polite', payload: {} })
  await reaches(running.id, 'processing')
  const { text, headers } = await http.get('/metrics').expect(200)
  expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
  const metrics = read(text)
  expect(
    Object.fromEntries(
      [...metrics].filter(
        ([name]) => /^jobmill_(jobs|queue|slots|job_moves|refusals)/.test(name) && metrics.get(name) !== 0,
      ),
    ),
  ).toEqual({
    'jobmill_jobs{type="flaky",status="completed"}': 1,
    'jobmill_jobs{type="greet",status="completed"}': 1,
    'jobmill_jobs{type="throws",status="failed"}': 1,
    'jobmill_jobs{type="polite",status="processing"}': 1,
    'jobmill_jobs_finished_total{type="flaky",outcome="completed"}': 1,
    'jobmill_jobs_finished_total{type="greet",outcome="completed"}': 1,
    'jobmill_jobs_finished_total{type="throws",outcome="failed"}': 1,
    'jobmill_queue_bound_jobs{bound="queue_size"}': 5,
    'jobmill_queue_bound_jobs{bound="max_stored"}': 1_000_000,
    'jobmill_slots{state="busy"}': 1,
    'jobmill_slots{state="free"}': 2,
    'jobmill_job_moves_total{type="greet",verb="submit"}': 1,
    'jobmill_job_moves_total{type="throws",verb="submit"}': 1,
    'jobmill_job_moves_total{type="flaky",verb="submit"}': 1,
    'jobmill_job_moves_total{type="polite",verb="submit"}': 1,
    'jobmill_job_moves_total{type="flaky",verb="retry"}': 2,
    'jobmill_refusals_total{reason="unknown_type"}': 3,
    'jobmill_refusals_total{reason="job_not_found"}': 1,
  })
  expect(metrics.get('jobmill_job_run_seconds_count{type="flaky"}')).toBe(3)
  expect(metrics.get('jobmill_job_wait_seconds_count{type="flaky"}')).toBe(3)
  expect(metrics.get('jobmill_commit_writes_count')).toBeGreaterThan(5)
  expect(metrics.get('jobmill_commit_seconds_sum')).toBeGreaterThan(0)
  expect(metrics.get('jobmill_database_bytes{file="database"}')).toBeGreaterThan(0)
  expect(metrics.get('jobmill_database_bytes{file="wal"}')).toBeGreaterThan(4_096)
  expect(metrics.has('nodejs_eventloop_lag_p99_seconds')).toBe(true)
  expect(metrics.has('process_resident_memory_bytes')).toBe(true)
})

test.skipIf(!PROMTOOL)('promtool finds nothing to say about them (skipped where it is not installed)', async () => {
  const { text } = await (await worked()).http.get('/metrics').expect(200)
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  expect([stdout, stderr, status]).toEqual(['', '', 0])
})
