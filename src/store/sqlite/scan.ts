// Reads all jobs from the oldest on, in pieces that are bounded in rows and in bytes, for handlers that go through them.
import type Database from 'better-sqlite3'
import type { JobWithPayload } from '../../job.js'
import { COLUMNS, parseWithPayload, type ValuesWithPayload } from '../job-row.js'
import type { ScanFilter } from '../store.js'

/** Rows that one piece looks at, so that no piece holds up the event loop. */
const SCAN_STEP = 500
const TALLY_STEP = 2_000
/** A piece ends after the job that carries it over this: payloads and results may have a megabyte each. */
const SCAN_BYTES = 1_048_576

export function createScans(db: Database.Database) {
  const piece = `SELECT id FROM jobs WHERE id > @after ORDER BY id LIMIT @step`
  const fits = `(@statuses IS NULL OR status IN (SELECT value FROM json_each(@statuses)))
    AND (@type IS NULL OR type = @type) AND (@created_from IS NULL OR created_at >= @created_from)
    AND (@created_before IS NULL OR created_at < @created_before)
    AND (@finished_before IS NULL OR finished_at < @finished_before)`
  const last = db.prepare<[object], { id: string | null; n: number }>(
    `SELECT max(id) AS id, count(*) AS n FROM (${piece})`,
  )
  const find = db
    .prepare<[object], ValuesWithPayload>(
      `SELECT ${COLUMNS}, payload FROM jobs WHERE id > @after AND id <= @last AND ${fits} ORDER BY id`,
    )
    .raw()
  const count = db.prepare<[object], { jobs: number; bytes: number }>(
    `SELECT count(*) AS jobs, coalesce(sum(bytes), 0) AS bytes FROM jobs WHERE id > @after AND id <= @last AND ${fits}`,
  )

  /** The last id of the piece after `after`, and where the next piece begins; null where there is none. */
  function pieceAfter(after: string, step: number) {
    const { id, n } = last.all({ after, step })[0] ?? { id: null, n: 0 }
    return { last: id ?? after, next: n === step ? id : null }
  }

  return {
    scan(filter: ScanFilter, after: string): { jobs: JobWithPayload[]; next: string | null } {
      const { last, next } = pieceAfter(after, SCAN_STEP)
      const jobs: JobWithPayload[] = []
      let bytes = 0
      for (const values of find.iterate({ ...parametersOf(filter), after, last })) {
        const job = parseWithPayload(values)
        jobs.push(job)
        bytes += job.payload.length + (job.result?.length ?? 0)
        if (bytes > SCAN_BYTES) return { jobs, next: job.id === last ? next : job.id }
      }
      return { jobs, next }
    },

    tally(filter: ScanFilter, after: string): { jobs: number; bytes: number; next: string | null } {
      const { last, next } = pieceAfter(after, TALLY_STEP)
      const { jobs, bytes } = count.all({ ...parametersOf(filter), after, last })[0] ?? { jobs: 0, bytes: 0 }
      return { jobs, bytes, next }
    },
  }
}

function parametersOf({ status, type, created_from, created_before, finished_before }: ScanFilter) {
  return {
    statuses: status === undefined ? null : JSON.stringify(status),
    type: type ?? null,
    created_from: created_from ?? null,
    created_before: created_before ?? null,
    finished_before: finished_before ?? null,
  }
}
