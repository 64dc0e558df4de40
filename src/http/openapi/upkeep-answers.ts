// What the API answers about schedules, digests, workers and its own state.
import { z } from 'zod'
import { job as scheduledJob } from '../../schedules/plan.js'
import { count, countsByStatus, timestamp } from './answers.js'

const sums = z.record(z.string(), z.number()).describe('Of the numbers in the results, by the names of their fields.')

export const schedule = z
  .strictObject({
    name: z.string(),
    source: z.enum(['config', 'http']).describe('Who defined it, and may change it.'),
    every: z.string().optional(),
    mode: z.enum(['fixed_rate', 'fixed_delay']).optional(),
    cron: z.string().optional(),
    fields: z.record(z.string(), z.array(z.unknown())).optional(),
    time_zone: z.string().optional(),
    start_at: timestamp.nullable(),
    end_at: timestamp.nullable(),
    overlap: z.enum(['skip', 'queue']),
    catch_up: z.enum(['none', 'last', 'all']),
    max_lateness: z.string(),
    max_catch_up: z.int().min(1),
    paused: z.boolean(),
    paused_at: timestamp.nullable(),
    job: scheduledJob,
    next_at: timestamp.nullable().describe('Null while it is paused, at its end, and until a run has ended.'),
    created_at: timestamp,
    updated_at: timestamp,
    totals: z
      .strictObject({
        completed: count(),
        failed: count(),
        cancelled: count(),
        sums,
        last_job_id: z.string(),
        last_ended_at: timestamp,
      })
      .nullable(),
  })
  .describe('A schedule, with what was left out when it was put.')

export const systemSchedule = z
  .strictObject({
    name: z.string().regex(/^system\./),
    source: z.literal('system'),
    description: z.string(),
    paused: z.literal(false),
    next_at: timestamp.nullable(),
    totals: z.strictObject({ completed: count(), failed: count(), sums, last_ended_at: timestamp.nullable() }),
  })
  .describe("jobmill's own upkeep.")

export const anySchedule = z.union([schedule, systemSchedule])

export const scheduleList = z.strictObject({
  schedules: z.array(anySchedule),
  next_cursor: z.string().nullable(),
})

export const nextTicks = z.strictObject({ next: z.array(timestamp) })

export const history = z.strictObject({
  history: z.array(
    z.strictObject({
      tick_at: timestamp,
      until: timestamp.nullable().describe('The last tick, where this stands for several.'),
      outcome: z.enum(['ran', 'skipped']),
      job_id: z.string().nullable(),
      reason: z.string().describe('In one word.'),
      detail: z.string().describe('The same as a sentence.'),
    }),
  ),
})

export const digest = z.strictObject({
  name: z.string(),
  schedule: z.string(),
  next_at: timestamp.nullable(),
  events: count().describe('Those that wait for the next mail.'),
})

export const digestList = z.strictObject({ digests: z.array(digest) })
export const digestAccepted = z.strictObject({ digest: z.string(), next_at: timestamp.nullable() })

export const digestPreview = digest.extend({
  to: z.union([z.string(), z.array(z.string())]),
  subject: z.string(),
  counts: z.record(z.string(), count()).describe('By kind.'),
  unlisted: count().describe('Events that had no room, and are only counted.'),
  body: z.string(),
})

const milliseconds = z.number().min(0).nullable()
export const durations = z.strictObject({
  count: count(),
  p50: milliseconds,
  p95: milliseconds,
  p99: milliseconds,
  max: milliseconds,
})
const inWindows = <S extends z.ZodType>(figure: S) =>
  z.strictObject({ last_1m: figure, last_5m: figure, last_15m: figure })
const rate = z.number().min(0)
const throughput = z.strictObject({
  jobs_per_minute: rate,
  completed_per_minute: rate,
  failed_per_minute: rate,
  cancelled_per_minute: rate,
})
const measures = {
  wait_ms: durations.describe('From the time a job became due to the start of its run, over the last 15 minutes.'),
  run_ms: durations.describe('From the start of a run to its end, over the last 15 minutes.'),
}

export const pauses = z.strictObject({
  paused: z.boolean().describe('All types are.'),
  paused_types: z.array(z.string()).describe('Those that are by themselves.'),
})

export const stats = z
  .strictObject({
    active_workers: count().describe('Jobs that run.'),
    queued_jobs: count().describe('Jobs that are pending.'),
    completed_jobs: count().describe('All that ever completed.'),
    failed_jobs: count().describe('All that ever failed.'),
    cancelled_jobs: count(),
    jobs_by_status: countsByStatus,
    ...pauses.shape,
    max_workers: count(),
    threads: count(),
    queue_size: count(),
    node: z.string().describe('The one that was asked for, or that answers.'),
    since: timestamp.describe('When the first of the measurements began.'),
    utilisation: inWindows(z.number().min(0)),
    throughput: inWindows(throughput),
    ...measures,
    last_hour: z
      .strictObject({
        ends_at: timestamp.describe('When the minute that goes on is over.'),
        completed: z.array(count()).length(60),
        failed: z.array(count()).length(60),
        cancelled: z.array(count()).length(60),
      })
      .describe('Jobs that ended in each minute, oldest first; the last one goes on.'),
    types: z.record(
      z.string(),
      countsByStatus.extend({ completed_jobs: count(), failed_jobs: count(), cancelled_jobs: count(), ...measures }),
    ),
    slots: z.array(
      z.strictObject({
        node: z.string(),
        slot: z.int().min(1),
        job: z
          .strictObject({
            id: z.string(),
            type: z.string(),
            attempt: count(),
            started_at: timestamp,
            progress: z.number().min(0).max(100),
            progress_note: z.string().nullable(),
          })
          .nullable(),
      }),
    ),
  })
  .describe('The first four fields keep names and meanings for ever.')

export const node = z.strictObject({
  id: z.string().describe('New at every start.'),
  state: z
    .enum(['starting', 'alive', 'draining', 'lost'])
    .describe('`lost`: it was not heard of for as long as its lease; its jobs run again elsewhere.'),
  host: z.string(),
  pid: count(),
  version: z.string(),
  node_version: z.string(),
  started_at: timestamp,
  heartbeat_at: timestamp,
  max_workers: count(),
  active_workers: count().describe('Slots in which a job runs.'),
  threads: count(),
  memory_bytes: count(),
  types: z.array(z.string()).describe('Those that it runs.'),
  trouble: z.string().nullable().describe('Why it takes no jobs.'),
})
export const nodeList = z.strictObject({ nodes: z.array(node) })

export const typeList = z.strictObject({
  types: z.array(
    z.strictObject({
      name: z.string(),
      description: z.string(),
      state: z.enum(['enabled', 'disabled']),
      reason: z.string().nullable().describe('Why it is disabled.'),
      timeout_ms: z.number().min(0),
      retry_count: count(),
      backoff: z.strictObject({ base: z.number(), factor: z.number(), max: z.number(), jitter: z.number() }),
      concurrency: z.int().min(1).nullable(),
      reserved: count(),
      rate: z.strictObject({ limit: z.int().min(1), per_ms: z.number() }).nullable(),
      queue_size: count().nullable(),
      payload_schema: z.record(z.string(), z.unknown()).describe('JSON Schema (draft 2020-12) of its payload.'),
      paused: z.boolean(),
    }),
  ),
})

export const alive = z.strictObject({
  status: z.literal('alive'),
  loops: z.record(z.string(), z.strictObject({ turned_at: timestamp })),
})
export const ready = z.strictObject({ status: z.literal('ready') })
