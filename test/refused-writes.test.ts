// What clients and running jobs see while the store refuses writes: another program holds the database.
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Database } from '../src/store/sqlite/binding.js'
import { canRun } from './store/processes/start.js'
import { freshFolder } from './support/folder.js'
import { startProcess } from './support/process.js'
import { startService } from './support/service.js'
import { typeFiles } from './support/types.js'
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

const no_limit = process.platform !== 'linux' || !canRun('prlimit', '--version')
const BIG = { type: 'greet', payload: { name: 'x'.repeat(100_000) }, delay: '1h' }

/** Files of the process may not grow above so many bytes: writing answers EFBIG, which is no full disk. */
const limitFiles = (pid: number | undefined, bytes: string) =>
  execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`])

// Skipped where prlimit is missing: nothing else makes writes fail without root.
test.skipIf(no_limit)(
  'where a commit fails, its outcome is unknown, readiness is red, reads go on, and nothing is written any more',
  async () => {
    const { http, submit, reaches, folder, lines } = await startService()
    const running = await submit({ type: 'endless' })
    await reaches(running.id, 'processing')
    limitFiles(process.pid, String(statSync(join(folder, 'jobs.db-wal')).size + 50_000))
    const answers: { status: number; body: { code: string } }[] = []
    try {
      while (answers.length < 5 && answers.at(-1)?.status !== 503) answers.push(await http.post('/jobs').send(BIG))
    } finally {
      limitFiles(process.pid, 'unlimited')
    }
    expect(answers.at(-1)).toMatchObject({ status: 503, body: { code: 'outcome_unknown' } })
    await http.post('/jobs').send({ type: 'greet' }).expect(503)
    await http.get('/readyz').expect(503)
    await http.get(`/jobs/${running.id}`).expect(200)
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'store failed', error: expect.stringContaining('SQLITE_IOERR') }),
    )
  },
)

test.skipIf(no_limit)('a process whose database failed ends with 1, and goes on from what is on disk', async () => {
  const folder = freshFolder({ ...typeFiles(['endless', 'greet']), 'config.yaml': { worker: { types: ['types'] } } })
  const first = await startProcess(folder)
  const acknowledged = [(await first.submit({ type: 'endless' })).id]
  await first.reaches(acknowledged[0] as string, 'processing')
  limitFiles(first.child.pid, String(statSync(join(folder, 'jobs.db-wal')).size + 250_000))
  await until('a submission has no 202', async () => {
    const answer = await first.call('POST', '/jobs', BIG).catch(() => null)
    if (answer?.status === 202) acknowledged.push(answer.body.id)
    return answer?.status !== 202
  })
  expect(await first.exit).toEqual({ code: 1, signal: null })
  expect(first.lines()).toContainEqual(
    expect.objectContaining({ level: 60, error: expect.stringContaining('SQLITE_IOERR') }),
  )

  const second = await startProcess(folder)
  expect(acknowledged.length).toBeGreaterThan(1)
  for (const id of acknowledged) expect((await second.call('GET', `/jobs/${id}`)).status).toBe(200)
  expect(await second.reaches(acknowledged[0] as string, 'processing')).toMatchObject({ interruptions: 1, attempt: 1 })
})
