// What the description shows: one job, and what is told of it. A test holds each example to its schema.

export const ID = '0197c9a0-5f3e-7b1c-9d2a-4c8e6f0a1b2c'
export const BATCH_ID = '0197c9a0-6a00-7c4d-8e1f-2b3c4d5e6f70'

const AT = '2026-07-01T08:30:00.000Z'
const SOON = '2026-07-01T08:30:01.250Z'

export const summary = {
  id: ID,
  type: 'export',
  status: 'completed',
  progress: 100,
  created_at: AT,
  updated_at: SOON,
  progress_note: '10,000 of 10,000 rows',
  reason: 'completed',
  reason_detail: 'attempt 1 of 2 completed',
  started_at: AT,
  finished_at: SOON,
  run_at: null,
  start_by: null,
  priority: 3,
  attempt: 1,
  max_attempts: 2,
  interruptions: 0,
  timeout_ms: 600_000,
  cancel_requested_at: null,
  tags: { customer: '17' },
  concurrency_key: null,
  depends_on: [],
  on_dependency_failure: 'fail',
  schedule: null,
  batch_id: null,
  error: null,
  artifacts: [{ name: 'jobs.csv', bytes: 812_345, content_type: 'text/csv', url: `/jobs/${ID}/artifacts/jobs.csv` }],
  worker: { node: 'host-1-3f2a91bc', slot: 3 },
}

export const completed = { ...summary, payload: { format: 'csv' }, result: { rows: 10_000 } }

const unbegun = {
  ...summary,
  status: 'pending',
  progress: 0,
  updated_at: AT,
  progress_note: null,
  reason: 'submitted',
  reason_detail: 'it may run as soon as a slot is free',
  started_at: null,
  finished_at: null,
  attempt: 0,
  artifacts: [],
  worker: null,
}
export const pendingSummary = unbegun
export const pending = { ...unbegun, payload: { format: 'csv' }, result: null }

export const cancelledSummary = {
  ...unbegun,
  status: 'cancelled',
  reason: 'cancelled',
  reason_detail: 'cancelled on request',
  finished_at: SOON,
  updated_at: SOON,
}

const NO_JOBS = {
  waiting: 0,
  scheduled: 0,
  pending: 0,
  processing: 0,
  retrying: 0,
  completed: 0,
  failed: 0,
  cancelled: 0,
}

export const batch = {
  id: BATCH_ID,
  status: 'running',
  progress: 50,
  created_at: AT,
  open: false,
  total: 2,
  jobs: { ...NO_JOBS, pending: 1, completed: 1 },
  on_complete: null,
}

export const schedule = {
  name: 'nightly-cleanup',
  source: 'http',
  cron: '0 3 * * *',
  time_zone: 'Europe/Berlin',
  start_at: null,
  end_at: null,
  overlap: 'skip',
  catch_up: 'last',
  max_lateness: '1d',
  max_catch_up: 100,
  paused: false,
  paused_at: null,
  job: { type: 'cleanup', payload: { older_than: '30d' } },
  next_at: '2026-07-02T01:00:00.000Z',
  created_at: AT,
  updated_at: AT,
  totals: null,
}

export const systemSchedule = {
  name: 'system.retention',
  source: 'system',
  description: 'deletes final jobs that are older or more than retention allows',
  paused: false,
  next_at: SOON,
  totals: { completed: 12, failed: 0, sums: { jobs: 3, bytes: 4_096 }, last_ended_at: AT },
}

const durations = { count: 2, p50: 12, p95: 40, p99: 40, max: 41 }
const measures = { wait_ms: durations, run_ms: durations }
const inWindows = <T>(figure: T) => ({ last_1m: figure, last_5m: figure, last_15m: figure })

const minutes = (each: number): number[] => Array(60).fill(each)

export const stats = {
  active_workers: 1,
  queued_jobs: 12,
  completed_jobs: 156,
  failed_jobs: 3,
  cancelled_jobs: 0,
  jobs_by_status: { ...NO_JOBS, pending: 12, processing: 1, completed: 156, failed: 3 },
  paused: false,
  paused_types: [],
  max_workers: 2,
  threads: 1,
  queue_size: 100,
  node: 'host-1-3f2a91bc',
  since: AT,
  utilisation: inWindows(0.5),
  throughput: inWindows({
    jobs_per_minute: 2,
    completed_per_minute: 2,
    failed_per_minute: 0,
    cancelled_per_minute: 0,
  }),
  ...measures,
  last_hour: { ends_at: AT, completed: minutes(2), failed: minutes(0), cancelled: minutes(0) },
  types: {
    export: {
      ...NO_JOBS,
      pending: 12,
      processing: 1,
      completed: 156,
      failed: 3,
      completed_jobs: 156,
      failed_jobs: 3,
      cancelled_jobs: 0,
      ...measures,
    },
  },
  slots: [
    {
      node: 'host-1-3f2a91bc',
      slot: 1,
      job: { id: ID, type: 'export', attempt: 1, started_at: AT, progress: 40, progress_note: '4,000 of 10,000 rows' },
    },
    { node: 'host-1-3f2a91bc', slot: 2, job: null },
  ],
}

export const node = {
  id: 'host-1-3f2a91bc',
  state: 'alive',
  host: 'host-1',
  pid: 4711,
  version: '0.1.0',
  node_version: '24.4.0',
  started_at: AT,
  heartbeat_at: AT,
  max_workers: 10,
  active_workers: 1,
  threads: 2,
  memory_bytes: 104_857_600,
  types: ['cleanup', 'email', 'export'],
  trouble: null,
}

export const digest = { name: 'daily', schedule: 'digest.daily', next_at: '2026-07-02T06:00:00.000Z', events: 2 }

const number = { type: 'number' }
export const exportType = {
  name: 'export',
  description: 'Write rows to a file',
  state: 'enabled',
  reason: null,
  timeout_ms: 600_000,
  retry_count: 1,
  backoff: { base: 1_000, factor: 2, max: 300_000, jitter: 0.1 },
  concurrency: null,
  reserved: 0,
  rate: { limit: 10, per_ms: 1_000 },
  queue_size: null,
  payload_schema: { type: 'object', properties: { limit: number } },
  paused: false,
}

export const problemInLine = {
  type: 'urn:jobmill:problem:unknown_type',
  title: 'There is no such job type',
  status: 422,
  detail: 'there is no job type "emial"',
  code: 'unknown_type',
}

export const fragment = `<div class="jobmill-job" id="job-${ID}" data-type="export" data-status="completed"><p>export completed</p></div>`
