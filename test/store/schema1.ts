// A SQLite file as the first release wrote it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import { freshFolder } from '../support/folder.js'
import { T0 } from './suite/stage.js'

const MIGRATIONS = new URL('../../src/store/sql/sqlite/', import.meta.url)

export function databaseOfSchema1(): string {
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
