// What clients and running jobs see while the store refuses writes: another program holds the database.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Database } from '../src/store/sqlite/binding.js'
import { startService } from './support/service.js'
import { until } from './support/until.js'

test('writes are refused with a time to come back, reads go on, and outcomes are stored when the lock is gone', async () => {
  const { submit, reaches, http, folder, lines, get } = await startService({ types: ['hash'] })
  const running = await submit({ type: 'hash', payload: { rounds: 50 } })
  await reaches(running.id, 'processing')
  const foreign = new Database(join(folder, 'jobs.db'))
  foreign.exec('BEGIN IMMEDIATE')
  try {
    const refused = await Promise.all([
      http.post('/jobs').send({ type: 'greet' }),
      http.post(`/jobs/${running.id}/cancel`),
      http.post(`/jobs/${running.id}/rerun`),
      http.delete(`/jobs/${running.id}`),
    ])
    for (const { status, body, headers } of refused) {
      expect([status, body.code]).toEqual([503, 'store_busy'])
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1)
    }
    expect(await get(running.id)).toMatchObject({ status: 'processing' })
    await until('an outcome is kept', () =>
      lines.some(({ msg, doing }) => msg === 'store trouble' && doing === `storing the outcome of ${running.id}`),
    )
  } finally {
    foreign.exec('ROLLBACK')
    foreign.close()
  }
  expect(await reaches(running.id, 'completed')).toMatchObject({ attempt: 1 })
  await submit({ type: 'greet' })
}, 60_000)

test('a service that stops while its store refuses gives up on outcomes and says so; the job runs at the next start', async () => {
  const { submit, reaches, service, folder, lines } = await startService({
    types: [],
    config: { worker: { shutdown_grace: 0, cancel_grace: 0 } },
  })
  const { id } = await submit({ type: 'polite', payload: {} })
  await reaches(id, 'processing')
  const foreign = new Database(join(folder, 'jobs.db'))
  foreign.exec('BEGIN IMMEDIATE')
  try {
    expect(await service.stop()).toEqual({ released: [], running: [] })
  } finally {
    foreign.exec('ROLLBACK')
  }
  expect(lines).toContainEqual(expect.objectContaining({ msg: 'store trouble', doing: `storing the outcome of ${id}` }))
  expect(foreign.prepare('SELECT status FROM jobs WHERE id = ?').all(id)).toEqual([{ status: 'processing' }])
  foreign.close()
}, 60_000)
