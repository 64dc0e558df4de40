// What is only read: jobs, their lists, runs and lines, each a bounded piece, on a connection that never waits for writes.
import type { Job, JobWithPayload } from '../../job.js'
import { fits } from '../filters.js'
import {
  COLUMNS,
  parseError,
  parseJob,
  parseWithPayload,
  type Row,
  type Values,
  type ValuesWithPayload,
} from '../job-row.js'
import type { Attempt, JobFilter, JobPage, LogLine, ScanFilter } from '../store.js'
import type { Queries } from './connection.js'
import { readCounts } from './ledger.js'

/** Every id is lower than this one. */
const ABOVE_ALL = '\u{10ffff}'
/** Rows that one page looks at: where few of many fit, it ends before it is full. */
const MOST_LOOKED_AT = 5_000
/** Rows that one piece looks at. */
const SCAN_STEP = 500
const TALLY_STEP = 2_000
/** A piece ends after the job that carries it over this: payloads and results may have a megabyte each. */
const SCAN_BYTES = 1_048_576

const FITS = `($3::text[] IS NULL OR status = ANY($3)) AND ($4::text IS NULL OR type = $4)
  AND ($5::bigint IS NULL OR created_at >= $5) AND ($6::bigint IS NULL OR created_at < $6)
  AND ($7::bigint IS NULL OR finished_at < $7)`

export function createReads(db: Queries) {
  const get = async (id: string): Promise<JobWithPayload | null> =>
    (await db.values<ValuesWithPayload>(`SELECT ${COLUMNS}, payload FROM jobs WHERE id = $1`, [id])).map(
      parseWithPayload,
    )[0] ?? null

  /** Jobs among which all that fit are, newest first, from `start` down. */
  async function candidates({ status, type, tag, batch, from_id: from = '' }: JobFilter) {
    const select = `SELECT ${COLUMNS.map((name) => `jobs.${name}`)} FROM`
    const newest = 'ORDER BY jobs.id DESC LIMIT $3'
    const range = 'jobs.id < $1 AND jobs.id >= $2'
    if (batch !== undefined)
      return [`${select} jobs WHERE batch_id = $4 AND ${range} ${newest}`, from, [batch]] as const
    if (tag !== undefined)
      return [
        `${select} tags JOIN jobs USING (id) WHERE tag = $4 AND tags.id < $1 AND ${range} ${newest}`,
        from,
        [tag],
      ] as const
    if (status === undefined && type === undefined)
      return [`${select} jobs WHERE ${range} ${newest}`, from, []] as const
    const pairs = (await readCounts(db)).filter(
      (row) => row.n > 0 && (type ?? row.type) === row.type && (status?.includes(row.status) ?? true),
    )
    const of = (status: string) =>
      `(SELECT * FROM jobs WHERE jobs.type = pair.type AND ${status} AND ${range} ORDER BY id DESC LIMIT $3)`
    const heads = `unnest($4::text[], $5::text[]) AS pair (type, status) CROSS JOIN LATERAL (
      ${of(`jobs.status = pair.status AND jobs.status <> 'processing'`)}
      UNION ALL ${of(`jobs.status = 'processing' AND pair.status = 'processing'`)}) AS jobs ${newest}`
    return [`${select} ${heads}`, from, [pairs.map((pair) => pair.type), pairs.map((pair) => pair.status)]] as const
  }

  async function list(filter: JobFilter, limit: number, before: string | null): Promise<JobPage> {
    const [text, from, values] = await candidates(filter)
    const jobs: Job[] = []
    let last = before ?? ABOVE_ALL
    for (let looked = 0; looked < MOST_LOOKED_AT; ) {
      // One more tells whether there is a further page; where few fit, pieces grow.
      const step = Math.max(limit - jobs.length + 1, Math.min(looked, MOST_LOOKED_AT - looked))
      const found = (await db.values<Values>(text, [last, from, step, ...values])).map(parseJob)
      for (const job of found) {
        if (jobs.length === limit) return { jobs, next: last }
        if (fits(job, filter)) jobs.push(job)
        last = job.id
      }
      if (found.length < step) return { jobs, next: null }
      looked += found.length
    }
    return { jobs, next: last }
  }

  /** The last id of the piece after `after`, and where the next piece begins; null where there is none. */
  async function pieceAfter(after: string, step: number) {
    const text = `SELECT max(id) AS id, count(*) AS n FROM (SELECT id FROM jobs WHERE id > $1 ORDER BY id LIMIT $2) AS piece`
    const [{ id, n } = { id: null, n: 0 }] = await db.all<{ id: string | null; n: number }>(text, [after, step])
    return { last: id ?? after, next: n === step ? id : null }
  }

  return {
    get,
    list,

    async scan(filter: ScanFilter, after: string): Promise<{ jobs: JobWithPayload[]; next: string | null }> {
      const { last, next } = await pieceAfter(after, SCAN_STEP)
      const sized = await db.all<{ id: string; size: number }>(
        `SELECT id, octet_length(payload)::bigint + coalesce(octet_length(result), 0) AS size FROM jobs
         WHERE id > $1 AND id <= $2 AND ${FITS} ORDER BY id`,
        [after, last, ...parametersOf(filter)],
      )
      let bytes = 0
      const over = sized.findIndex(({ size }) => {
        bytes += size
        return bytes > SCAN_BYTES
      })
      const end = over < 0 ? last : (sized[over]?.id ?? last)
      const jobs = await db.values<ValuesWithPayload>(
        `SELECT ${COLUMNS}, payload FROM jobs WHERE id > $1 AND id <= $2 AND ${FITS} ORDER BY id`,
        [after, end, ...parametersOf(filter)],
      )
      return { jobs: jobs.map(parseWithPayload), next: end === last ? next : end }
    },

    async tally(filter: ScanFilter, after: string): Promise<{ jobs: number; bytes: number; next: string | null }> {
      const { last, next } = await pieceAfter(after, TALLY_STEP)
      const text = `SELECT count(*) AS jobs, coalesce(sum(bytes), 0)::bigint AS bytes FROM jobs
        WHERE id > $1 AND id <= $2 AND ${FITS}`
      const [sums] = await db.all<{ jobs: number; bytes: number }>(text, [after, last, ...parametersOf(filter)])
      return { jobs: sums?.jobs ?? 0, bytes: sums?.bytes ?? 0, next }
    },

    async attempts(id: string): Promise<Attempt[]> {
      // The last one is in the job's own row, as long as it goes on, and where it was the end of the job.
      const text = `SELECT run, attempt, node, slot, started_at, finished_at, outcome, reason, reason_detail, error
          FROM attempts WHERE id = $1
        UNION ALL SELECT run, attempt, node, slot, started_at, finished_at, outcome,
            CASE WHEN outcome IS NOT NULL THEN reason END, CASE WHEN outcome IS NOT NULL THEN reason_detail END,
            CASE outcome WHEN 'fail' THEN error END
          FROM jobs CROSS JOIN LATERAL (SELECT CASE status
            WHEN 'completed' THEN 'complete' WHEN 'failed' THEN 'fail' WHEN 'cancelled' THEN 'cancel' END) AS over (outcome)
          WHERE id = $1 AND started_at IS NOT NULL AND (status = 'processing' OR finished_at IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.id = jobs.id AND attempts.run = jobs.run)
        ORDER BY run`
      return (await db.all<Row<Attempt>>(text, [id])).map(parseError)
    },
    lines: (id: string, after: { run: number; line: number }, limit: number): Promise<LogLine[]> =>
      db.all(
        `SELECT run, line, at, message FROM logs WHERE id = $1 AND (run, line) > ($2::bigint, $3::bigint)
         ORDER BY run, line LIMIT $4`,
        [id, after.run, after.line, limit],
      ),
    async lastCheckpoint(id: string): Promise<string | null> {
      return (await db.all<{ value: string }>('SELECT value FROM checkpoints WHERE id = $1', [id]))[0]?.value ?? null
    },
  }
}

function parametersOf({ status, type, created_from, created_before, finished_before }: ScanFilter) {
  return [status ?? null, type ?? null, created_from ?? null, created_before ?? null, finished_before ?? null]
}
