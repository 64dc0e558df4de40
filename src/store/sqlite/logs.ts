// What handlers leave while they run: log lines of each run, and the last checkpoint of a job.
import type Database from 'better-sqlite3'
import type { LogLine, RunNotes } from '../store.js'

export function createLogs(db: Database.Database) {
  const hasRun = db.prepare<[string, number], { run: number }>('SELECT run FROM attempts WHERE id = ? AND run = ?')
  const last = db.prepare<[string, number], { line: number }>(
    'SELECT coalesce(max(line), 0) AS line FROM logs WHERE id = ? AND run = ?',
  )
  const insert = db.prepare('INSERT INTO logs VALUES (?, ?, ?, ?, ?)')
  const select = db.prepare<[string, number, number, number], LogLine>(
    `SELECT run, line, at, message FROM logs WHERE id = ? AND (run, line) > (?, ?) ORDER BY run, line LIMIT ?`,
  )
  const save = db.prepare(
    `INSERT OR REPLACE INTO checkpoints SELECT id, ? FROM jobs WHERE id = ? AND run = ? AND status = 'processing'`,
  )
  const checkpoint = db.prepare<[string], { value: string }>('SELECT value FROM checkpoints WHERE id = ?')
  const forget = db.prepare('DELETE FROM checkpoints WHERE id = ?')

  return {
    /** Lines are kept although their run is over by now, as long as its attempt is. Inside a transaction. */
    append({ id, run, lines }: RunNotes): void {
      if (hasRun.all(id, run).length === 0) return
      let line = last.all(id, run)[0]?.line ?? 0
      for (const { at, message } of lines) insert.run(id, run, ++line, at, message)
    },

    lines: (id: string, after: { run: number; line: number }, limit: number): LogLine[] =>
      select.all(id, after.run, after.line, limit),

    /** Keeps the value where this run goes on, and tells whether it does. Inside a transaction. */
    checkpoint: (id: string, run: number, value: string): boolean => save.run(value, id, run).changes === 1,

    lastCheckpoint: (id: string): string | null => checkpoint.all(id)[0]?.value ?? null,
    forgetCheckpoint: (id: string): void => void forget.run(id),
  }
}
