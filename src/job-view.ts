// A job as the API shows it: RFC 3339 times, its payload and result as JSON, no stack.
import { type Job, type JobWithPayload, type JsonText, timestamp } from './job.js'
import type { Attempt, Batch, LogLine } from './store/store.js'

/** As in lists: without payload and result, which may be large. The first six fields keep names and meanings for ever. */
export function jobSummary(job: Job) {
  return {
    id: job.id,
    type: job.type,
    status: job.status,
    progress: job.progress,
    created_at: timestamp(job.created_at),
    updated_at: timestamp(job.updated_at),
    progress_note: job.progress_note,
    reason: job.reason,
    reason_detail: job.reason_detail,
    started_at: moment(job.started_at),
    finished_at: moment(job.finished_at),
    run_at: moment(job.run_at),
    start_by: moment(job.start_by),
    priority: job.priority,
    attempt: job.attempt,
    max_attempts: job.max_attempts,
    interruptions: job.interruptions,
    timeout_ms: job.timeout_ms,
    cancel_requested_at: moment(job.cancel_requested_at),
    tags: job.tags,
    concurrency_key: job.concurrency_key,
    depends_on: job.depends_on,
    on_dependency_failure: job.on_dependency_failure,
    schedule: job.schedule,
    batch_id: job.batch_id,
    error: job.error === null ? null : { code: job.error.code, message: job.error.message, attempt: job.error.attempt },
    artifacts: artifactViews(job),
    worker: job.node === null ? null : { node: job.node, slot: job.slot },
  }
}

/** As JSON text: payload and result are stored as JSON and go out as they are. */
export function jobJson(job: JobWithPayload): JsonText {
  const summary = JSON.stringify(jobSummary(job))
  return `${summary.slice(0, -1)},"payload":${job.payload},"result":${job.result}}`
}

/** As the handlers of jobs that depend on it see it. */
export function dependencyJson({ id, type, status, error, artifacts, result }: Job): JsonText {
  const told = error === null ? null : { code: error.code, message: error.message }
  const fields = JSON.stringify({ id, type, status, error: told, artifacts: artifacts ?? [] })
  return `${fields.slice(0, -1)},"result":${result}}`
}

/** As answered to who submitted what was there before. */
export function deduplicatedJson(job: JobWithPayload): JsonText {
  return `${jobJson(job).slice(0, -1)},"deduplicated":true}`
}

function artifactViews({ id, artifacts }: Job) {
  return (artifacts ?? []).map(({ name, bytes, content_type }) => {
    return { name, bytes, content_type, url: `/jobs/${id}/artifacts/${encodeURIComponent(name)}` }
  })
}

export function attemptView({ started_at, finished_at, ...attempt }: Attempt) {
  return { ...attempt, started_at: timestamp(started_at), finished_at: moment(finished_at) }
}

export function logView({ run, at, message }: LogLine) {
  return { run, at: timestamp(at), message }
}

/** Progress is the share of its jobs that are final, in whole percent; a batch to which jobs are still added is never at 100. */
export function batchView({ id, created_at, open, on_complete, jobs }: Batch) {
  const total = Object.values(jobs).reduce((sum, n) => sum + n, 0)
  const final = jobs.completed + jobs.failed + jobs.cancelled
  const progress = total === 0 ? 0 : Math.floor((100 * final) / total)
  return {
    id,
    status: open || final < total ? 'running' : 'final',
    progress: open ? Math.min(progress, 99) : progress,
    created_at: timestamp(created_at),
    open,
    total,
    jobs,
    on_complete,
  }
}

function moment(ms: number | null): string | null {
  return ms === null ? null : timestamp(ms)
}
