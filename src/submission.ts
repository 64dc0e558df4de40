// Checks a submission: first the envelope, which is the same for all types, then the payload against its type's schema.
import type { z } from 'zod'
import type { Adjustment } from './adjust.js'
import { adjustment, envelope } from './envelope.js'
import { type FieldError, ServiceError } from './errors.js'
import { type Finding, inspect } from './explain.js'
import { type JsonText, timestamp } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import { formatDuration } from './span.js'
import type { JobKey } from './store/store.js'
import type { SubmittedJob } from './tracker.js'

/** What a submission may have beside its payload, as JSON: a hundred ids, twenty tags, two keys. */
export const MAX_ENVELOPE_BYTES = 65_536

export interface SubmissionRules {
  types: JobTypes
  /** Bytes of a payload as JSON. */
  max_payload: number
}

/**
 * `now` is milliseconds since 1970; `delay` counts from it.
 *
 * @throws ServiceError invalid_job, unknown_type, disabled_type
 */
export function readSubmission(body: unknown, rules: SubmissionRules, now: number): SubmittedJob {
  if (body === undefined) throw new ServiceError('malformed_request', 'the body is empty, send a job as JSON')
  const checked = plainEnvelope(body) ?? inspect(envelope, body)
  if (!checked.ok) throw invalid('invalid_job', checked.findings)
  const { payload, priority, delay, timeout, retry_count, unique_key, unique_for = 0, start_by } = checked.data
  const type = typeOf(checked.data.type, rules.types)
  const text = JSON.stringify(payload)
  checkSize(text, rules.max_payload)
  checkPayload(type, payload)
  checkTimeout(type, timeout)
  const run_at = delay === undefined ? (checked.data.run_at ?? null) : now + delay
  checkStartBy(start_by, Math.max(now, run_at ?? now))
  const { concurrency_key, depends_on, on_dependency_failure, tags } = checked.data
  return {
    type: type.name,
    payload: text,
    priority,
    run_at,
    start_by: start_by ?? null,
    concurrency_key: concurrency_key ?? null,
    depends_on,
    on_dependency_failure,
    tags,
    timeout_ms: timeout ?? type.timeout_ms,
    max_attempts: 1 + (retry_count ?? type.retry_count),
    keys: unique_key === undefined ? [] : [uniqueKey(type.name, unique_key, now + unique_for)],
  }
}

/**
 * The job that waits for the end of a batch: a second thing to wait for would be one too many, and so would be another
 * job in its place.
 *
 * @throws ServiceError as readSubmission does
 */
export function readOnComplete(body: unknown, rules: SubmissionRules, now: number): SubmittedJob {
  const job = readSubmission(body, rules, now)
  const findings = [
    ...(job.depends_on === undefined ? [] : [{ path: ['depends_on'], message: 'must be left out of on_complete' }]),
    ...(job.keys.length === 0 ? [] : [{ path: ['unique_key'], message: 'must be left out of on_complete' }]),
  ]
  if (findings.length > 0) throw invalid('invalid_job', findings)
  return job
}

function uniqueKey(owner: string, key: string, expires_at: number): JobKey {
  return { kind: 'unique', owner, key, fingerprint: null, expires_at }
}

/** What the schema makes of a job that has nothing but type and payload, as most do: streams of jobs go twice as fast. */
function plainEnvelope(body: unknown): { ok: true; data: z.output<typeof envelope> } | null {
  if (typeof body !== 'object' || body === null) return null
  for (const field in body) if (field !== 'type' && field !== 'payload') return null
  if (!('type' in body) || typeof body.type !== 'string') return null
  return { ok: true, data: { type: body.type, payload: 'payload' in body ? body.payload : {}, priority: 3 } }
}

/** @throws ServiceError unknown_type, disabled_type */
export function typeOf(name: string, types: JobTypes): JobType {
  const type = types.get(name)
  if (type?.disabled === null) return type
  const enabled = [...types.values()].filter(({ disabled }) => disabled === null).map(({ name }) => name)
  const errors = [{ pointer: '/type', detail: `must be one of ${enabled.join(', ')}` }]
  if (type === undefined)
    throw new ServiceError('unknown_type', `there is no job type "${name.slice(0, 100)}"`, { errors })
  throw new ServiceError('disabled_type', `the job type "${name}" is disabled; GET /types says why`, { errors })
}

function checkSize(payload: JsonText, max_payload: number): void {
  const bytes = Buffer.byteLength(payload)
  if (bytes <= max_payload) return
  const message = `must not have more than ${max_payload} bytes (limits.payload), it has ${bytes}`
  throw invalid('invalid_job', [{ path: ['payload'], message }])
}

function checkPayload(type: JobType, payload: unknown): void {
  if (type.payload === null) return
  const checked = inspect(type.payload, payload)
  if (checked.ok) return
  throw invalid(
    'invalid_job',
    checked.findings.map(({ path, message }) => ({ path: ['payload', ...path], message })),
  )
}

function checkTimeout(type: JobType, timeout: number | undefined): void {
  if (timeout === undefined || timeout <= type.timeout_ms) return
  const message = `must not be longer than ${formatDuration(type.timeout_ms)}, the timeout of ${type.name}`
  throw invalid('invalid_job', [{ path: ['timeout'], message }])
}

/** `earliest` is when the job may run at the earliest. */
function checkStartBy(start_by: number | undefined, earliest: number): void {
  if (start_by === undefined || start_by > earliest) return
  const message = `must be later than ${timestamp(earliest)}, when the job may run at the earliest`
  throw invalid('invalid_job', [{ path: ['start_by'], message }])
}

/**
 * The body of PATCH /jobs/:id: `run_at: null` is at once.
 *
 * @throws ServiceError invalid_request
 */
export function readAdjustment(body: unknown): Adjustment {
  const checked = inspect(adjustment, body)
  if (!checked.ok) throw invalid('invalid_request', checked.findings)
  const { priority, run_at } = checked.data
  return { priority, run_at: run_at === null ? 0 : run_at }
}

const MAX_ERRORS = 20

/** The findings as JSON Pointers (RFC 6901). */
export function invalid(code: 'invalid_job' | 'invalid_request', findings: Finding[]): ServiceError {
  const errors = findings.slice(0, MAX_ERRORS).map(({ path, message }): FieldError => {
    const pointer = path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
    return { pointer, detail: message }
  })
  const [first] = errors
  return new ServiceError(code, `${first?.pointer || 'the body'}: ${first?.detail}`, { errors })
}
