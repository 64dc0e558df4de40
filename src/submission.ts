// Checks a submission: first the envelope, which is the same for all types, then the payload against its type's schema.
import { z } from 'zod'
import type { Adjustment } from './adjust.js'
import { duration, formatDuration } from './duration.js'
import { type FieldError, ServiceError } from './errors.js'
import { type Finding, inspect } from './explain.js'
import { type JsonText, timestamp } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import type { JobKey } from './store/store.js'
import type { SubmittedJob } from './tracker.js'

/** Characters, of a unique_key and of an Idempotency-Key. */
export const MAX_KEY_LENGTH = 255
/** What a submission may have beside its payload, as JSON: a hundred ids, twenty tags, two keys. */
export const MAX_ENVELOPE_BYTES = 65_536
const LONGEST_UNIQUE_MS = 366 * 86_400_000
const LAST_TIME = Date.UTC(9999, 11, 31)
/** In the description; what is checked knows the lengths of months as well. */
export const TIME_SHAPE = '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2})$'

const MAX_DEPENDENCIES = 100
const MAX_TAGS = 20

const KEY_HINT = `must be a text of 1 to ${MAX_KEY_LENGTH} characters`
const ID_HINT = 'must be the id of a job'
const TAG_HINT = 'must be a text of up to 255 characters'

/** A time of RFC 3339 with its offset, as milliseconds since 1970. */
export function time() {
  const error = 'must be a time such as "2030-01-31T08:30:00Z"'
  return z.iso
    .datetime({ offset: true, error })
    .transform((text) => Date.parse(text))
    .refine((ms) => ms >= 0 && ms <= LAST_TIME, 'must lie between 1970 and 9999')
    .meta({
      format: 'date-time',
      pattern: TIME_SHAPE,
      description: 'A time of RFC 3339 with its offset, between 1970 and 9999.',
    })
}

const key = () => z.string(KEY_HINT).min(1, KEY_HINT).max(MAX_KEY_LENGTH, KEY_HINT)
const priority = () =>
  z.int('must be a whole number from 1 (high) to 5 (low)').min(1).max(5).meta({ description: '1 (high) to 5 (low).' })

/** An own field of that name is lost in copies: told, not dropped. */
function plain(value: unknown, ctx: z.RefinementCtx): unknown {
  const lost = typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')
  if (lost) ctx.addIssue({ code: 'custom', message: 'must not have an entry with the name __proto__' })
  return value
}

const tags = z
  .preprocess(plain, tagEntries())
  .refine((tags) => Object.keys(tags).length <= MAX_TAGS, `must have at most ${MAX_TAGS} entries`)
  .meta({ maxProperties: MAX_TAGS, description: 'Names and values by which `GET /jobs?tag=` finds it.' })

function tagEntries() {
  return z.record(
    z.string().regex(/^[\w.-]{1,64}$/, 'must have a name of 1 to 64 letters, digits and ._-'),
    z.string(TAG_HINT).max(255, TAG_HINT),
  )
}

/** Descriptions are those of the API (`GET /openapi.json`). */
export const submissionFields = {
  type: z.string().describe('The job type: its name in `GET /types`.'),
  payload: z.unknown().default({}).describe('What its handler gets; the schema is that of the type.'),
  priority: priority().default(3),
  delay: duration().optional().describe('How long it waits before it may run: seconds, or a text such as "10m".'),
  run_at: time().optional().describe('When it may run, instead of `delay`.'),
  start_by: time().optional().describe('No run begins then or later: it fails with `start_by_passed`.'),
  timeout: duration({ min: 100 })
    .optional()
    .describe('What a run may take, at most as long as the timeout of its type: seconds, or a text such as "90s".'),
  retry_count: z
    .int('must be a whole number from 0 to 100')
    .min(0)
    .max(100)
    .optional()
    .describe('Further attempts after the first that fails.'),
  unique_key: key().optional().describe('While a job of this type with this key is not final, it is the answer.'),
  unique_for: duration({ max: LONGEST_UNIQUE_MS })
    .optional()
    .describe('For so long it is the answer after it ended, too: seconds, or a text such as "1h".'),
  concurrency_key: key().optional().describe('Jobs of one key run one at a time, in order, whatever their types.'),
  depends_on: z
    .array(z.string(ID_HINT).min(1, ID_HINT).max(64, ID_HINT))
    .max(MAX_DEPENDENCIES)
    .refine((ids) => new Set(ids).size === ids.length, 'must not have one twice')
    .meta({ uniqueItems: true })
    .optional()
    .describe('Ids of jobs that have to be final before it runs.'),
  on_dependency_failure: z
    .enum(['fail', 'run'])
    .optional()
    .describe('Whether it fails or runs where one of those fails or is cancelled; left out: it fails.'),
  tags: tags.optional(),
}

/** The last of the three refinements below in the words of JSON Schema; pages that show schemas leave these words out. */
export const DELAY_OR_TIME = { dependentSchemas: { delay: { properties: { run_at: false } } } }
const RELATIONS = {
  ...DELAY_OR_TIME,
  dependentRequired: { unique_for: ['unique_key'], on_dependency_failure: ['depends_on'] },
}

export const envelope = z
  .strictObject(submissionFields)
  .refine(({ unique_key, unique_for }) => unique_for === undefined || unique_key !== undefined, {
    path: ['unique_for'],
    error: 'must be left out where there is no unique_key',
  })
  .refine(({ depends_on, on_dependency_failure }) => on_dependency_failure === undefined || depends_on !== undefined, {
    path: ['on_dependency_failure'],
    error: 'must be left out where there is no depends_on',
  })
  .refine(({ delay, run_at }) => delay === undefined || run_at === undefined, {
    path: ['run_at'],
    error: 'must be left out where there is a delay',
  })
  .meta(RELATIONS)

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

export const adjustment = z
  .strictObject({
    priority: priority().optional(),
    run_at: z.union([time(), z.null()]).optional().describe('When it may run; null: at once.'),
  })
  .refine(({ priority, run_at }) => priority !== undefined || run_at !== undefined, 'must have priority or run_at')
  .meta({ minProperties: 1 })

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
