// How long a step of retention holds the event loop, with a million final jobs in the file beside ten thousand.
import { execFileSync } from 'node:child_process'
import { Database } from '../src/store/sqlite/binding.js'
import { openSqliteStore } from '../src/store/sqlite/sqlite.js'
import { longestHold } from './hold.js'

const STEPS = 90
const STEP_JOBS = 100
const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const EVERYTHING = {
  status: ['completed'],
  types: { except: [] },
  finished_before: Number.MAX_SAFE_INTEGER,
  max_count: null,
  max_bytes: null,
  limit: STEP_JOBS,
} as const

/** Longest holds of the event loop by each of the steps, in milliseconds, shortest first. */
export async function pruneSteps(file: string, jobs: number): Promise<number[]> {
  await openSqliteStore(file, RULES).close()
  fillWithFinalJobs(file, jobs)
  const store = openSqliteStore(file, RULES)
  const holds: number[] = []
  for (let step = 0; step < STEPS; step += 1) holds.push(await longestHold(() => store.prune(EVERYTHING)))
  await store.close()
  return holds.toSorted((a, b) => a - b)
}

/** In SQL, as going through the store would take minutes. */
function fillWithFinalJobs(file: string, jobs: number): void {
  const db = new Database(file)
  db.exec(`BEGIN;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${jobs})
    INSERT INTO jobs (id, type, status, progress, reason, reason_detail, created_at, updated_at, started_at, finished_at, priority,
      rank, attempt, max_attempts, run, interruptions, timeout_ms, node, slot, payload, payload_bytes, bytes, result)
    SELECT printf('%08x-%04x-7000-8000-%012x', i / 65536, i % 65536, i), CASE i % 3 WHEN 0 THEN 'email' ELSE 'export' END,
      'completed', 100, 'completed', 'the handler returned', i, i, i, i, 3, i, 1, 4, 1, 0, 60000, 'node', 1,
      '{"to":"user@example.com","subject":"Hello","body":"Test email"}', 64, 130,
      '{"message_id":"<1@localhost>","accepted":["user@example.com"]}' FROM n;
    INSERT INTO attempts (id, run, attempt, node, slot, started_at, finished_at, outcome, reason, reason_detail)
    SELECT id, 1, 1, 'node', 1, 1, 2, 'complete', 'completed', 'the handler returned' FROM jobs;
    COMMIT`)
  db.pragma('wal_checkpoint(TRUNCATE)')
  db.close()
  // What the fill left in memory would otherwise be written during the first step.
  execFileSync('sync')
}
