// A job as a row of a database: its columns, and those that hold JSON. The same for every driver.
import type { ErrorRecord } from '../errors.js'
import type { Job, JobWithPayload, Step } from '../job.js'

/** What a transition may change; the rest of a row is fixed at submission. */
export const MUTABLE = [
  'status',
  'progress',
  'progress_note',
  'reason',
  'reason_detail',
  'updated_at',
  'run_at',
  'start_by',
  'priority',
  'started_at',
  'finished_at',
  'rank',
  'attempt',
  'run',
  'interruptions',
  'cancel_requested_at',
  'node',
  'slot',
  'result',
  'error',
  'artifacts',
  'bytes',
] as const satisfies (keyof Job)[]
const FIXED = [
  'id',
  'type',
  'created_at',
  'max_attempts',
  'timeout_ms',
  'payload_bytes',
  'concurrency_key',
  'batch_id',
  'schedule',
  'on_dependency_failure',
  'tags',
  'depends_on',
] as const satisfies (keyof Job)[]
/** parseJob() knows them by their order. */
export const COLUMNS = [...FIXED, ...MUTABLE] as const satisfies (keyof Job)[]
/** What a new job brings; the rest of its row is nothing yet. */
export const NEW = [
  ...FIXED,
  'status',
  'updated_at',
  'run_at',
  'start_by',
  'priority',
  'rank',
  'bytes',
  'reason',
  'reason_detail',
] as const

/** Rows of `attempts` kept for a job that runs again and again, and runs whose log lines are. */
export const MAX_ATTEMPTS_KEPT = 100
export const MAX_LOGS_KEPT = 10

/** The verb that really ended the run: a cancel request or poison may have overruled the one that was asked for. */
export function ended(after: Job, asked: Pick<Step, 'verb'>): Step['verb'] {
  if (after.status === 'cancelled') return 'cancel'
  return after.status === 'failed' ? 'fail' : asked.verb
}

export function stored(job: Job, name: (typeof COLUMNS)[number]): string | number | null {
  const value = job[name]
  if (value === null || typeof value !== 'object') return value
  return isEmpty(value) ? null : JSON.stringify(value)
}

function isEmpty(value: object): boolean {
  for (const _ in value) return false
  return true
}

/** Stored as JSON; NULL where there is none. */
type AsJson = 'error' | 'artifacts' | 'tags' | 'depends_on'
type StoredAs<K> = K extends AsJson ? string | null : K extends keyof Job ? Job[K] : never
type ValuesOf<C extends readonly unknown[]> = { -readonly [I in keyof C]: StoredAs<C[I]> }
/** What the columns of COLUMNS hold, in their order. */
export type Values = ValuesOf<typeof COLUMNS>
/** The same of `COLUMNS, payload`. */
export type ValuesWithPayload = [...Values, payload: string]

/** Field by field: to have the driver fill objects by the names of the columns takes twice the time. */
export function parseJob(values: Values | ValuesWithPayload): Job {
  const [
    id,
    type,
    created_at,
    max_attempts,
    timeout_ms,
    payload_bytes,
    concurrency_key,
    batch_id,
    schedule,
    on_dependency_failure,
    tags,
    depends_on,
    status,
    progress,
    progress_note,
    reason,
    reason_detail,
    updated_at,
    run_at,
    start_by,
    priority,
    started_at,
    finished_at,
    rank,
    attempt,
    run,
    interruptions,
    cancel_requested_at,
    node,
    slot,
    result,
    error,
    artifacts,
    bytes,
  ] = values
  return {
    id,
    type,
    created_at,
    max_attempts,
    timeout_ms,
    payload_bytes,
    concurrency_key,
    batch_id,
    schedule,
    on_dependency_failure,
    tags: tags === null ? {} : JSON.parse(tags),
    depends_on: depends_on === null ? [] : JSON.parse(depends_on),
    status,
    progress,
    progress_note,
    reason,
    reason_detail,
    updated_at,
    run_at,
    start_by,
    priority,
    started_at,
    finished_at,
    rank,
    attempt,
    run,
    interruptions,
    cancel_requested_at,
    node,
    slot,
    result,
    error: error === null ? null : JSON.parse(error),
    artifacts: artifacts === null ? null : JSON.parse(artifacts),
    bytes,
  }
}

export const parseWithPayload = (values: ValuesWithPayload): JobWithPayload =>
  Object.assign(parseJob(values), { payload: values[COLUMNS.length] })

/** An error is stored as JSON. */
export type Row<T extends { error: ErrorRecord | null }> = { [K in keyof T]: K extends 'error' ? string | null : T[K] }

export function parseError<R extends { error: string | null }>(
  row: R,
): Omit<R, 'error'> & { error: ErrorRecord | null } {
  return { ...row, error: row.error === null ? null : JSON.parse(row.error) }
}
