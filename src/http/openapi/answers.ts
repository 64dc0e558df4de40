// What the API answers about jobs and batches. Strict: a field that is not described here is a mistake, and a test says so.
import { z } from 'zod'
import { JOB_ERROR_CODES } from '../../errors.js'
import { JOB_STATUSES } from '../../job.js'

export const timestamp = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
  .meta({ format: 'date-time', description: 'A time of RFC 3339, in UTC, with milliseconds.' })

export const count = () => z.int().min(0)
export const jobStatus = z.enum(JOB_STATUSES).describe('`completed`, `failed` and `cancelled` are final.')
const percent = z.int().min(0).max(100)

/** A number for each status. */
export const countsByStatus = z.strictObject(
  Object.fromEntries(JOB_STATUSES.map((status) => [status, count()])) as Record<
    (typeof JOB_STATUSES)[number],
    z.ZodInt
  >,
)

const artifact = z.strictObject({
  name: z.string(),
  bytes: count(),
  content_type: z.string(),
  url: z.string().describe('Its path on this server.'),
})

const jobError = z.strictObject({ code: z.enum(JOB_ERROR_CODES), message: z.string(), attempt: count() })

export const jobSummary = z
  .strictObject({
    id: z.string(),
    type: z.string(),
    status: jobStatus,
    progress: percent.describe('Percent.'),
    created_at: timestamp,
    updated_at: timestamp,
    progress_note: z.string().nullable(),
    reason: z.string().describe('Why it is where it is, in one word.'),
    reason_detail: z.string().describe('The same as a sentence.'),
    started_at: timestamp.nullable(),
    finished_at: timestamp.nullable(),
    run_at: timestamp.nullable().describe('When it becomes due, while it waits for that.'),
    start_by: timestamp.nullable(),
    priority: z.int().min(1).max(5),
    attempt: count().describe('Runs as they are charged: interrupted ones are not.'),
    max_attempts: z.int().min(1),
    interruptions: count().describe('Times that its process died under it.'),
    timeout_ms: count(),
    cancel_requested_at: timestamp.nullable(),
    tags: z.record(z.string(), z.string()),
    concurrency_key: z.string().nullable(),
    depends_on: z.array(z.string()),
    on_dependency_failure: z.enum(['fail', 'run']),
    schedule: z.string().nullable().describe('Name of the schedule that made it.'),
    batch_id: z.string().nullable(),
    error: jobError.nullable(),
    artifacts: z.array(artifact),
    worker: z.strictObject({ node: z.string(), slot: z.int().min(1).nullable() }).nullable(),
  })
  .describe('A job without its payload and result, as in lists.')

export const job = jobSummary
  .extend({
    payload: z.unknown(),
    result: z.unknown().describe('What its handler returned; null before that.'),
  })
  .describe('A job. The first six fields keep names and meanings for ever.')

export const acceptedJob = job
  .extend({ deduplicated: z.literal(true).optional().describe('It was there before; otherwise left out.') })
  .describe('A job, as answered to who submitted it.')

export const jobList = z.strictObject({
  jobs: z.array(jobSummary),
  next_cursor: z.string().nullable().describe('Null: there are no more.'),
})

export const attemptList = z.strictObject({
  attempts: z.array(
    z.strictObject({
      run: z.int().min(1),
      attempt: count(),
      node: z.string(),
      slot: z.int().min(1),
      started_at: timestamp,
      finished_at: timestamp.nullable(),
      outcome: z.enum(['complete', 'retry', 'fail', 'cancel', 'snooze', 'release', 'rescue']).nullable(),
      reason: z.string().nullable(),
      reason_detail: z.string().nullable(),
      error: jobError.extend({ stack: z.string().optional() }).nullable(),
    }),
  ),
})

export const logPage = z.strictObject({
  logs: z.array(z.strictObject({ run: z.int().min(1), at: timestamp, message: z.string() })),
  next_cursor: z.string().nullable(),
})

const obstacle = <K extends string, F extends z.core.$ZodLooseShape>(kind: K, fields: F) =>
  z.strictObject({ kind: z.literal(kind), detail: z.string(), ...fields })

export const why = z.strictObject({
  id: z.string(),
  status: jobStatus,
  reason: z.string(),
  reason_detail: z.string(),
  waits_for: z
    .array(
      z.union([
        obstacle('dependency', { jobs: z.array(z.string()) }),
        obstacle('batch', { batch_id: z.string(), left: count() }),
        obstacle('due_time', { run_at: timestamp }),
        obstacle('paused', { type: z.string().nullable() }),
        obstacle('type_unavailable', { type: z.string() }),
        obstacle('no_node', { type: z.string() }),
        obstacle('concurrency_key', { concurrency_key: z.string(), job: z.string(), status: jobStatus }),
        obstacle('rate', { type: z.string(), next_at: timestamp }),
        obstacle('type_saturated', { type: z.string(), concurrency: count() }),
        obstacle('slots', { max_workers: count(), running: count() }),
        z.strictObject({ kind: z.enum(['draining', 'suspect_alone', 'threads']), detail: z.string() }),
      ]),
    )
    .describe('Empty where nothing does: it is final, it runs, or it is next.'),
  position: z.int().min(1).nullable().describe('Of a pending job, from 1; null above 1,000, and for any other.'),
})

export const bulkCancelled = z.strictObject({
  cancelled: count(),
  asked_to_stop: count().describe('They run, and will be stopped.'),
  more: z.boolean().describe('Whether some are left.'),
  next_cursor: z.string().nullable().describe('To go on with where some are left.'),
})

export const bulkRerun = z.strictObject({
  rerun: count(),
  without_type: count().describe('Left as they are: their type is gone or disabled.'),
  more: z.boolean().describe('Whether some are left.'),
  next_cursor: z.string().nullable().describe('To go on with where some are left.'),
})

export const batch = z.strictObject({
  id: z.string(),
  status: z.enum(['running', 'final']),
  progress: percent.describe('The share of its jobs that are final.'),
  created_at: timestamp,
  open: z.boolean().describe('Whether jobs are still added to it.'),
  total: count(),
  jobs: countsByStatus,
  on_complete: z.string().nullable().describe('The job that waits for the end of all others.'),
})

export const batchAccepted = z.strictObject({
  batch_id: z.string().nullable().describe('Null where jobs of several batches were there before.'),
  jobs: z.array(acceptedJob),
  on_complete: z.string().optional().describe('Id of the job that waits for the others.'),
})
