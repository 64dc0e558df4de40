// What handlers leave while they run: log lines of each run, and the last checkpoint of a job.
import { MAX_ATTEMPTS_KEPT } from '../job-row.js'
import type { RunNotes } from '../store.js'
import type { Queries } from './connection.js'

/** Everything here runs inside a transaction that group commit began. */
export function createLogs(db: Queries) {
  return {
    /** Lines are kept although their run is over by now, as long as its attempt is. */
    append({ id, run, lines }: RunNotes): void {
      db.send(
        `INSERT INTO logs SELECT id, $2::integer, n + last.line, at, message
         FROM unnest($3::bigint[], $4::text[]) WITH ORDINALITY AS added (at, message, n),
           (SELECT coalesce(max(line), 0) AS line FROM logs WHERE id = $1 AND run = $2::integer) AS last,
           (SELECT id FROM jobs WHERE id = $1 AND run BETWEEN $2::integer AND $2::integer + ${MAX_ATTEMPTS_KEPT - 1}
            FOR KEY SHARE) AS job`,
        [id, run, lines.map(({ at }) => at), lines.map(({ message }) => message)],
      )
    },

    /** Keeps the value where this run goes on, and tells whether it does; nobody ends it before that is written. */
    async checkpoint(id: string, run: number, value: string): Promise<boolean> {
      const kept = await db.run(
        `INSERT INTO checkpoints SELECT id, $3 FROM jobs WHERE id = $1 AND run = $2 AND status = 'processing' FOR SHARE
         ON CONFLICT (id) DO UPDATE SET value = excluded.value`,
        [id, run, value],
      )
      return kept === 1
    },
  }
}
