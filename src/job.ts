// The job, its states and the one function that moves it from one state to the next.
import type { ErrorRecord } from './errors.js'

export const FINAL_STATUSES = ['completed', 'failed', 'cancelled'] as const
export type FinalStatus = (typeof FINAL_STATUSES)[number]

export const OPEN_STATUSES = ['waiting', 'scheduled', 'pending', 'processing', 'retrying'] as const

export const JOB_STATUSES = [...OPEN_STATUSES, ...FINAL_STATUSES] as const
export type JobStatus = (typeof JOB_STATUSES)[number]

/** A value as the text that JSON.stringify made of it: parsed where it is used, passed on as it is. */
export type JsonText = string

/** A file that a completed run left. */
export interface Artifact {
  name: string
  bytes: number
  /** A media type (RFC 6838). */
  content_type: string
}

/** A job without its payload, which only its handler and its own page need. Times are milliseconds since 1970 (UTC). */
export interface Job {
  id: string
  type: string
  status: JobStatus
  /** 0 to 100. */
  progress: number
  progress_note: string | null
  /** Why the job is where it is: one word, and a sentence. */
  reason: string
  reason_detail: string
  created_at: number
  updated_at: number
  /** When it becomes due, while waiting, scheduled or retrying. */
  run_at: number | null
  /** No run begins then or later: it fails. */
  start_by: number | null
  /** Of the latest run. */
  started_at: number | null
  finished_at: number | null
  /** 1 (high) to 5 (low). */
  priority: number
  /** Where it stands among the pending jobs of its type; lower goes first. */
  rank: number
  /** Runs as the user counts them: interrupted ones are not charged. */
  attempt: number
  max_attempts: number
  /** Raised at every claim and never lowered: the fence against late outcomes. */
  run: number
  /** Times that its process died under it, since it was last submitted or rerun. */
  interruptions: number
  timeout_ms: number
  cancel_requested_at: number | null
  /** Jobs of one key run one at a time, whatever their types. */
  concurrency_key: string | null
  batch_id: string | null
  /** Name of the schedule that made it. */
  schedule: string | null
  /** Ids of the jobs that it waits for, or waited for. */
  depends_on: readonly string[]
  /** What becomes of it when one of them fails or is cancelled. */
  on_dependency_failure: 'fail' | 'run'
  tags: Readonly<Record<string, string>>
  node: string | null
  slot: number | null
  result: JsonText | null
  error: ErrorRecord | null
  /** Of the run that completed it, in the order of their making; null where it left none. */
  artifacts: readonly Artifact[] | null
  payload_bytes: number
  /** What payload, result and artifacts take. */
  bytes: number
}

export interface JobWithPayload extends Job {
  payload: JsonText
}

/** What moves a job, with what it needs to know. Delays are milliseconds. */
export type Step =
  | { verb: 'promote' }
  /** `failed` is a dependency that did not complete, where the job is not to run then. */
  | { verb: 'unblock'; failed: Pick<Job, 'id' | 'status'> | null }
  | { verb: 'claim'; node: string; slot: number }
  | { verb: 'complete'; result: JsonText | null; artifacts: readonly Artifact[] }
  | { verb: 'retry'; error: ErrorRecord; delay: number }
  | { verb: 'fail'; error: ErrorRecord; interruptions?: number }
  | { verb: 'snooze'; delay: number }
  | { verb: 'release'; detail: string }
  | { verb: 'rescue' }
  | { verb: 'expire' }
  | { verb: 'cancel'; detail?: string }
  | { verb: 'rerun' }
export type Verb = 'submit' | Step['verb']
/** A change of priority or time (adjust.ts) is told like a transition, and is none. */
export type EventVerb = Verb | 'adjust'

/** Settings that decide transitions, the same on every node of a service. */
export interface Rules {
  /** Milliseconds that a job waits before it overtakes new ones of the next higher priority. */
  priority_aging: number
  /** The interruption at which a job is taken for the cause and failed. */
  poison_after: number
}

/** From where each verb leads, and to where. docs/lifecycle.md draws this table. */
export const TRANSITIONS: Readonly<Record<Verb, { from: readonly JobStatus[]; to: readonly JobStatus[] }>> = {
  submit: { from: [], to: ['pending', 'scheduled', 'waiting'] },
  promote: { from: ['scheduled', 'retrying'], to: ['pending'] },
  unblock: { from: ['waiting'], to: ['pending', 'scheduled', 'failed'] },
  claim: { from: ['pending'], to: ['processing'] },
  complete: { from: ['processing'], to: ['completed'] },
  retry: { from: ['processing'], to: ['retrying'] },
  fail: { from: ['processing'], to: ['failed'] },
  snooze: { from: ['processing'], to: ['scheduled'] },
  release: { from: ['processing'], to: ['pending'] },
  rescue: { from: ['processing'], to: ['pending', 'failed'] },
  cancel: { from: ['waiting', 'scheduled', 'pending', 'processing', 'retrying'], to: ['cancelled'] },
  expire: { from: ['waiting', 'scheduled', 'pending', 'retrying'], to: ['failed'] },
  rerun: { from: ['completed', 'failed', 'cancelled'], to: ['pending'] },
}

export function isFinal(status: JobStatus): status is FinalStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

/** First come, first served within a priority; each level below 1 waits `priority_aging` longer. */
export function rankOf(due_at: number, priority: number, rules: Rules): number {
  return due_at + (priority - 1) * rules.priority_aging
}

/** Turns rankOf() round: when the job became due. A job that was released or rescued is due since it was the first time. */
export function dueAt({ rank, priority }: Pick<Job, 'rank' | 'priority'>, rules: Rules): number {
  return rank - (priority - 1) * rules.priority_aging
}

/** The job after `step`, or null where its status does not allow that step. The input is left as it is. */
export function transition<J extends Job>(job: J, step: Step, now: number, rules: Rules): J | null {
  if (!TRANSITIONS[step.verb].from.includes(job.status)) return null
  return { ...job, updated_at: now, ...changes(job, overrule(job, step, rules), now, rules) }
}

/** A requested cancel beats every other end of a run; the last allowed interruption is a failure. */
function overrule(job: Job, step: Step, rules: Rules): Step {
  if (job.status === 'processing' && job.cancel_requested_at !== null) return { verb: 'cancel' }
  const interruptions = job.interruptions + 1
  if (step.verb !== 'rescue' || interruptions < rules.poison_after) return step
  const message = `the process died ${interruptions} times while this job ran`
  return { verb: 'fail', error: { code: 'poison', message, attempt: job.attempt }, interruptions }
}

/** What is spread stands last in these literals: in Node 20 each new property after it takes a microsecond. */
function changes(job: Job, step: Step, now: number, rules: Rules): Partial<Job> {
  switch (step.verb) {
    case 'promote':
      return { status: 'pending', run_at: null, reason: 'due', reason_detail: 'its time has come' }
    case 'unblock':
      return step.failed === null ? unblocked(job, now, rules) : failedFor(job, step.failed, now)
    case 'claim':
      return {
        status: 'processing',
        attempt: job.attempt + 1,
        run: job.run + 1,
        progress: 0,
        progress_note: null,
        started_at: now,
        node: step.node,
        slot: step.slot,
        reason: 'claimed',
        reason_detail: `attempt ${job.attempt + 1} of ${job.max_attempts} runs in slot ${step.slot} of ${step.node}`,
      }
    case 'complete':
      return {
        progress: 100,
        result: step.result,
        error: null,
        artifacts: step.artifacts.length === 0 ? null : step.artifacts,
        bytes: job.payload_bytes + bytesOf(step),
        reason_detail: 'the handler returned',
        ...final('completed', now),
      }
    case 'retry': {
      const run_at = now + wholeDelay(step.delay)
      return {
        status: 'retrying',
        run_at,
        rank: rankOf(run_at, job.priority, rules),
        error: step.error,
        reason: step.error.code,
        reason_detail: `attempt ${job.attempt} of ${job.max_attempts} failed (${step.error.message}); next one at ${timestamp(run_at)}`,
      }
    }
    case 'fail':
      return {
        error: step.error,
        interruptions: step.interruptions ?? job.interruptions,
        reason_detail: `failed at attempt ${job.attempt} of ${job.max_attempts}: ${step.error.message}`,
        ...final('failed', now, step.error.code),
      }
    case 'snooze': {
      const run_at = now + wholeDelay(step.delay)
      return {
        run_at,
        rank: rankOf(run_at, job.priority, rules),
        reason: 'snoozed',
        reason_detail: `its handler asked to be run again at ${timestamp(run_at)}`,
        ...unclaimed(job, 'scheduled'),
      }
    }
    case 'release':
      return { reason: 'released', reason_detail: step.detail, ...unclaimed(job, 'pending') }
    case 'rescue':
      return {
        interruptions: job.interruptions + 1,
        reason: 'rescued',
        reason_detail: `the node that ran it (${job.node}) is gone`,
        ...unclaimed(job, 'pending'),
      }
    case 'cancel':
      return {
        run_at: null,
        reason_detail: step.detail ?? (job.cancel_requested_at === null ? 'cancelled on request' : job.reason_detail),
        ...final('cancelled', now),
      }
    case 'expire': {
      const message = `its start_by, ${timestamp(job.start_by ?? now)}, has passed`
      const error = { code: 'start_by_passed', message, attempt: job.attempt } as const
      return { run_at: null, error, reason_detail: message, ...final('failed', now, error.code) }
    }
    case 'rerun':
      return {
        bytes: job.payload_bytes,
        status: 'pending',
        run_at: null,
        // Who runs it again wants it in spite of it.
        start_by: null,
        rank: rankOf(now, job.priority, rules),
        reason: 'rerun',
        reason_detail: `run again on request, after it was ${job.status}`,
        ...NOT_STARTED,
      }
  }
}

/** A job that waited ranks from now on: it could not have run before. */
function unblocked(job: Job, now: number, rules: Rules): Partial<Job> {
  if (job.run_at !== null && job.run_at > now) {
    const reason_detail = `all it depends on is final, due at ${timestamp(job.run_at)}`
    return { status: 'scheduled', rank: rankOf(job.run_at, job.priority, rules), reason: 'unblocked', reason_detail }
  }
  const reason_detail = 'all it depends on is final'
  return { status: 'pending', run_at: null, rank: rankOf(now, job.priority, rules), reason: 'unblocked', reason_detail }
}

function failedFor(job: Job, { id, status }: Pick<Job, 'id' | 'status'>, now: number): Partial<Job> {
  const message = `job ${id}, which it depends on, ${status === 'cancelled' ? 'was cancelled' : status}`
  const error = { code: 'dependency_failed', message, attempt: job.attempt } as const
  return { run_at: null, error, reason_detail: message, ...final('failed', now, error.code) }
}

function bytesOf({ result, artifacts }: Extract<Step, { verb: 'complete' }>): number {
  return Buffer.byteLength(result ?? '') + artifacts.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** Handlers ask for delays too: any number becomes whole milliseconds that a date can hold, ten years at most. */
const wholeDelay = (delay: number) => Math.round(Math.min(Math.max(delay || 0, 0), 3_650 * 86_400_000))

/** A job that runs again begins anew, but for its run, which goes on counting. */
const NOT_STARTED = {
  progress: 0,
  progress_note: null,
  started_at: null,
  finished_at: null,
  attempt: 0,
  interruptions: 0,
  cancel_requested_at: null,
  node: null,
  slot: null,
  result: null,
  error: null,
  artifacts: null,
}

function final(status: FinalStatus, now: number, reason: string = status) {
  return { status, finished_at: now, reason }
}

/** Back among the pending jobs as if the run had not begun: the attempt is not charged, the rank is kept. */
function unclaimed(job: Job, status: 'pending' | 'scheduled') {
  return {
    status,
    attempt: job.attempt - 1,
    progress: 0,
    progress_note: null,
    started_at: null,
    node: null,
    slot: null,
  } as const
}

/** The job with a cancel request stored: it runs on until its handler stops or is stopped. */
export function withCancelRequest<J extends Job>(job: J, detail: string, now: number): J {
  if (job.cancel_requested_at !== null) return job
  return { ...job, cancel_requested_at: now, updated_at: now, reason: 'cancel_requested', reason_detail: detail }
}

/** RFC 3339, UTC, with milliseconds. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString()
}
