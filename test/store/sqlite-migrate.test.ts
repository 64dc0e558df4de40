// A database of an earlier release: its jobs are all there afterwards, as if they had been written by this one.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import { freshFolder } from '../support/folder.js'
import { openAt } from './open.js'
import { T0 } from './suite/stage.js'

const MIGRATIONS = new URL('../../src/store/sql/sqlite/', import.meta.url)

function databaseOfSchema1(): string {
  const file = join(freshFolder(), 'jobs.db')
  const db = new Database(file)
  onTestFinished(() => void db.close())
  db.exec(readFileSync(new URL('0001_jobs.sql', MIGRATIONS), 'utf8'))
  db.pragma(`application_id = ${0x6a6f626d}`)
  db.pragma('user_version = 1')
  const insert = db.prepare(
    `INSERT INTO jobs (id, type, status, progress, reason, reason_detail, created_at, updated_at, finished_at, priority,
       rank, attempt, max_attempts, run, interruptions, timeout_ms, payload, result)
     VALUES (?, ?, ?, 0, 'x', 'y', ${T0}, ${T0}, ?, 3, ${T0}, 1, 4, 1, 0, 1000, ?, ?)`,
  )
  insert.run('job-1', 'a', 'completed', T0, '"ü"', '12')
  insert.run('job-2', 'a', 'pending', null, '{}', null)
  insert.run('job-3', 'b', 'failed', T0, '[]', null)
  db.exec(`INSERT INTO attempts VALUES ('job-1', 1, 1, 'n', 1, ${T0}, ${T0}, 'complete', 'completed', NULL)`)
  return file
}

test('jobs, attempts and counts of schema 1 are kept, with what they take', async () => {
  const { store } = openAt(databaseOfSchema1())
  expect(await store.get('job-1')).toMatchObject({ status: 'completed', artifacts: null, payload_bytes: 4, bytes: 6 })
  expect(await store.get('job-2')).toMatchObject({ status: 'pending', payload_bytes: 2, bytes: 2 })
  expect(await store.attempts('job-1')).toMatchObject([{ run: 1, reason: 'completed', reason_detail: null }])
  expect(await store.counts()).toEqual({
    a: { now: { completed: 1, pending: 1 }, bytes: 8, ever: {} },
    b: { now: { failed: 1 }, bytes: 2, ever: {} },
  })
})

test('jobs of schema 1 go through the verbs of this release', async () => {
  const { store } = openAt(databaseOfSchema1())
  const keep = { max_count: 0, max_bytes: null, finished_before: null, limit: 10 }
  const pruned = await store.prune({ ...keep, status: ['completed', 'failed'], types: { except: [] } })
  expect([pruned.ids, pruned.bytes]).toEqual([['job-1', 'job-3'], 8])
  const shares = [{ type: 'a', limit: 1, reserved: 0 }]
  const { claimed } = await store.claim({ node: 'n', shares, slots: [1], now: T0 })
  expect(claimed.map(({ id }) => id)).toEqual(['job-2'])
  expect(await store.counts()).toMatchObject({ a: { now: { processing: 1 }, bytes: 2 } })
})
