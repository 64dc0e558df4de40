// Checks a submission: first the envelope, which is the same for all types, then the payload against its type's schema.
import { z } from 'zod'
import { duration, formatDuration } from './duration.js'
import { type FieldError, ServiceError } from './errors.js'
import { type Finding, inspect } from './explain.js'
import type { JsonText } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import type { JobKey } from './store/store.js'
import type { SubmittedJob } from './tracker.js'

/** Characters, of a unique_key and of an Idempotency-Key. */
export const MAX_KEY_LENGTH = 255
const LONGEST_UNIQUE_MS = 366 * 86_400_000
const LAST_TIME = Date.UTC(9999, 11, 31)

const envelope = z
  .strictObject({
    type: z.string(),
    payload: z.unknown().default({}),
    priority: z.int('must be a whole number from 1 (high) to 5 (low)').min(1).max(5).default(3),
    delay: duration().optional(),
    run_at: z.iso
      .datetime({ offset: true, error: 'must be a time such as "2030-01-31T08:30:00Z"' })
      .transform((text) => Date.parse(text))
      .refine((ms) => ms >= 0 && ms <= LAST_TIME, 'must lie between 1970 and 9999')
      .optional(),
    timeout: duration({ min: 100 }).optional(),
    retry_count: z.int('must be a whole number from 0 to 100').min(0).max(100).optional(),
    unique_key: z.string().min(1).max(MAX_KEY_LENGTH).optional(),
    unique_for: duration({ max: LONGEST_UNIQUE_MS }).optional(),
  })
  .refine(({ unique_key, unique_for }) => unique_for === undefined || unique_key !== undefined, {
    path: ['unique_for'],
    error: 'must be left out where there is no unique_key',
  })
  .refine(({ delay, run_at }) => delay === undefined || run_at === undefined, {
    path: ['run_at'],
    error: 'must be left out where there is a delay',
  })

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
  const checked = inspect(envelope, body)
  if (!checked.ok) throw invalid('invalid_job', checked.findings)
  const { payload, priority, delay, run_at = null, timeout, retry_count, unique_key, unique_for = 0 } = checked.data
  const type = typeOf(checked.data.type, rules.types)
  const text = JSON.stringify(payload)
  checkSize(text, rules.max_payload)
  checkPayload(type, payload)
  checkTimeout(type, timeout)
  return {
    type: type.name,
    payload: text,
    priority,
    run_at: delay === undefined ? run_at : now + delay,
    timeout_ms: timeout ?? type.timeout_ms,
    max_attempts: 1 + (retry_count ?? type.retry_count),
    keys: unique_key === undefined ? [] : [uniqueKey(type.name, unique_key, now + unique_for)],
  }
}

function uniqueKey(owner: string, key: string, expires_at: number): JobKey {
  return { kind: 'unique', owner, key, fingerprint: null, expires_at }
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
