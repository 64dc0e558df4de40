// Jobs as rows: one guarded UPDATE for every transition, and the attempts that go with it.
import type Database from 'better-sqlite3'
import { type Adjustment, withAdjustment } from '../../adjust.js'
import { type Job, type JobWithPayload, type Rules, type Step, transition, withCancelRequest } from '../../job.js'
import {
  COLUMNS,
  ended,
  MAX_ATTEMPTS_KEPT,
  MAX_LOGS_KEPT,
  MUTABLE,
  NEW,
  parseError,
  parseJob,
  parseWithPayload,
  type Row,
  stored,
  type Values,
  type ValuesWithPayload,
} from '../job-row.js'
import type { Attempt, ProgressReport } from '../store.js'

export type Rows = ReturnType<typeof createRows>

/** Prepared statements over one database. Everything here runs inside a transaction that group commit began. */
export function createRows(db: Database.Database, rules: Rules) {
  const selected = [...COLUMNS, 'payload']
  const insert = db.prepare(
    `INSERT INTO jobs (${NEW}, payload, progress, attempt, run, interruptions)
     VALUES (${NEW.map(() => '?')}, ?, 0, 0, 0, 0)`,
  )
  const select = db.prepare<[string], Values>(`SELECT ${COLUMNS} FROM jobs WHERE id = ?`).raw()
  const selectWithPayload = db.prepare<[string], ValuesWithPayload>(`SELECT ${selected} FROM jobs WHERE id = ?`).raw()
  const update = db.prepare(
    `UPDATE jobs SET ${MUTABLE.map((name) => `${name} = ?`)} WHERE id = ? AND status = ? AND run = ?`,
  )
  const report = db.prepare(
    `UPDATE jobs SET progress = ?, progress_note = ?, updated_at = ? WHERE id = ? AND status = 'processing' AND run = ?`,
  )
  const beginAttempt = db.prepare(
    'INSERT INTO attempts (id, run, attempt, node, slot, started_at) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const endAttempt = db.prepare(
    'UPDATE attempts SET finished_at = ?, outcome = ?, reason = ?, reason_detail = ?, error = ? WHERE id = ? AND run = ?',
  )
  const remove = db.prepare('DELETE FROM jobs WHERE id = ?')
  const forgetLogs = db.prepare('DELETE FROM logs WHERE id = ? AND run <= ?')
  const forgetAttempts = db.prepare('DELETE FROM attempts WHERE id = ? AND run <= ?')
  const selectAttempts = db.prepare<[string], Row<Attempt>>(
    `SELECT run, attempt, node, slot, started_at, finished_at, outcome, reason, reason_detail, error
     FROM attempts WHERE id = ? ORDER BY run`,
  )

  function save<J extends Job>(before: J, after: J): J {
    const guard = [before.id, before.status, before.run]
    const { changes } = update.run(...MUTABLE.map((name) => stored(after, name)), ...guard)
    // Reads and writes of one transaction see the same row, so this is a defect and rolls everything back.
    if (changes !== 1) throw new Error(`job ${before.id} changed under a transaction`)
    return after
  }

  return {
    insert(job: JobWithPayload): void {
      insert.run(...NEW.map((name) => stored(job, name)), job.payload)
    },

    get: (id: string): Job | null => select.all(id).map(parseJob)[0] ?? null,
    getWithPayload: (id: string): JobWithPayload | null => selectWithPayload.all(id).map(parseWithPayload)[0] ?? null,

    /** Takes the step and writes it, with its run's row of `attempts`; null where the job's status does not allow it. */
    apply<J extends Job>(before: J, step: Step, now: number): J | null {
      const after = transition(before, step, now, rules)
      if (after === null) return null
      save(before, after)
      if (after.status === 'processing') {
        beginAttempt.run(after.id, after.run, after.attempt, after.node, after.slot, now)
        if (after.run > MAX_LOGS_KEPT) forgetLogs.run(after.id, after.run - MAX_LOGS_KEPT)
        if (after.run > MAX_ATTEMPTS_KEPT) forgetAttempts.run(after.id, after.run - MAX_ATTEMPTS_KEPT)
      } else if (before.status === 'processing') {
        const outcome = ended(after, step)
        // A job keeps the error of its last failed attempt; a run that did not fail has none.
        const error = outcome === 'retry' || outcome === 'fail' ? stored(after, 'error') : null
        endAttempt.run(now, outcome, after.reason, after.reason_detail, error, after.id, after.run)
      }
      return after
    },

    adjust(job: Job, change: Adjustment, now: number): Job | null {
      const after = withAdjustment(job, change, now, rules)
      return after === null ? null : save(job, after)
    },

    requestCancel: (job: Job, detail: string, now: number): Job => save(job, withCancelRequest(job, detail, now)),

    report: ({ id, run, progress, note, at }: ProgressReport): boolean =>
      report.run(progress, note, at, id, run).changes === 1,

    /** A final job and its attempts are gone. */
    remove(id: string): void {
      remove.run(id)
    },

    attempts: (id: string): Attempt[] => selectAttempts.all(id).map(parseError),
  }
}
