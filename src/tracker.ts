// The only writer of job state: each verb goes to the store, and each write that took effect becomes one event.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Adjustment, isTooLate } from './adjust.js'
import type { ArtifactStore } from './artifacts.js'
import type { BackoffPolicy } from './backoff.js'
import { type ErrorRecord, ServiceError } from './errors.js'
import type { EventBus } from './events.js'
import { type EventVerb, isFinal, type Job, type JsonText, type Rules, timestamp, type Verb } from './job.js'
import { newJob, type Submission } from './new-job.js'
import { type Outcome, stepAfter } from './outcome.js'
import type { RunKey } from './pool/protocol.js'
import { createRunLogs } from './run-logs.js'
import type { Share } from './slot-shares.js'
import type {
  Accepted,
  Batch,
  BatchCancel,
  Bounds,
  CancelAnswer,
  Claimed,
  Due,
  Ending,
  JobKey,
  NewBatch,
  NewJob,
  Pauses,
  ProgressReport,
  Pruned,
  PruneRequest,
  Store,
} from './store/store.js'

export interface TrackerOptions {
  store: Store
  files: Pick<ArtifactStore, 'keep'>
  bus: EventBus
  node: string
  rules: Rules
  bounds: Bounds
  /** Why no submission is taken now, or null. */
  refusal(): ServiceError | null
  /** Milliseconds since 1970. */
  now(): number
  newId(): string
  /** A number in [0, 1), for the jitter of retries. */
  random(): number
}

/** What a submission says, with the keys by which it may be met again. */
export interface SubmittedJob extends Omit<Submission, 'id' | 'batch_id' | 'waits'> {
  keys: readonly JobKey[]
}

interface BatchPlan {
  id: string
  /** Whether further jobs follow. */
  open: boolean
  /** Whether the last job waits for the end of all others. */
  on_complete: boolean
}

export interface JobTracker {
  /**
   * Resolves when the job, received `at` that time, is on disk. Rejects with `queue_full`, with `refusal` and what Store says of writes.
   * A job that another one submits is not bounded by `max_pending`: its handler holds a slot meanwhile.
   */
  submit(submission: SubmittedJob, at: number, by?: 'client' | 'handler'): Promise<Accepted>
  /** Stores jobs as one batch, all or none; the last of them waits for the others where `on_complete` says so. */
  submitBatch(submissions: readonly SubmittedJob[], at: number, batch: BatchPlan): Promise<Accepted[]>
  /** No job comes into the batch any more. Resolves when that is on disk; it is sent again until then. */
  closeBatch(id: string): Promise<void>
  /** Cancels what is left of a batch, and answers it as it is then. Null: there is no such batch. */
  cancelBatch(id: string, detail: string): Promise<Batch | null>
  claim(shares: readonly Share[], slots: readonly number[], wary: boolean): Promise<Omit<Claimed, keyof Due>>
  /** Stores a line of a run's log; it is on disk a moment later. */
  log(run: RunKey, message: string): void
  /** Resolves when the value is on disk. Rejects where the run is over. */
  checkpoint(run: RunKey, value: JsonText): Promise<void>
  /** Rejects with `job_running` or `job_final`. Null: there is no such job. */
  adjust(id: string, change: Adjustment): Promise<Job | null>
  /** Never rejects: progress that could not be stored is superseded by the next. */
  progress(report: Omit<ProgressReport, 'at'>): Promise<void>
  /** Resolves when what the run made is where every node reads it, with the outcome to settle; it is sent again until then. */
  keep(run: RunKey, outcome: Outcome): Promise<Outcome>
  /** Resolves when the outcome is on disk, or was found to be late; an outcome is sent again until then. */
  settle(job: Job, outcome: Outcome, backoff: BackoffPolicy): Promise<void>
  /** Null: there is no such job. */
  cancel(id: string, detail: string): Promise<CancelAnswer | null>
  /** Rejects with `job_not_final`. Null: there is no such job. */
  rerun(id: string): Promise<Job | null>
  /** Deletes a final job. Rejects with `job_not_final` or `job_needed`. Null: there is no such job. */
  remove(id: string): Promise<Job | null>
  /** Pauses a type, or all with null, or lifts that pause; answers all pauses. */
  pause(type: string | null, paused: boolean): Promise<Pauses>
  prune(request: PruneRequest): Promise<Pruned>
  /** Promotes and rescues; answers how many were rescued, and when the next job becomes due. */
  tick(): Promise<{ rescued: number; next_due: number | null }>
  /** Gives up on outcomes and artifacts that the store still refuses: their jobs are rescued at the next start. */
  stop(): void
}

/** Pauses between the tries to store what has happened: doubled up to the last. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 5_000

export function createTracker(options: TrackerOptions): JobTracker {
  const { store, files, bus, node, rules, bounds, refusal, now, newId, random } = options
  const stopped = new AbortController()

  function tell<J extends Job>(verb: EventVerb, jobs: readonly J[]): void {
    for (const job of jobs) bus.publish({ kind: 'job', verb, job })
  }

  /** Sends what has happened until it is stored: neither a lock nor a full disk undoes it. */
  async function insist(doing: string, write: () => Promise<void>): Promise<void> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        return await write()
      } catch (error) {
        if (!(error instanceof ServiceError) || stopped.signal.aborted) throw error
        bus.publish({ kind: 'store_trouble', doing, message: error.message })
        await sleep(pause, undefined, { signal: stopped.signal })
      }
    }
  }

  /** It is told in the turn in which the store answers, so events keep the order of writes. */
  function end(ending: Ending, outcome: Outcome): Promise<void> {
    const { id, run } = ending
    return insist(`storing the outcome of ${id}`, async () => {
      const { ended, unblocked } = await store.settle([ending])
      const [after = null] = ended
      if (after === null) bus.publish({ kind: 'late_outcome', id, run, outcome: outcome.kind })
      else tell(verbOf(after), [after])
      tell('unblock', unblocked)
    })
  }

  const unbounded = { ...bounds, max_pending: Number.POSITIVE_INFINITY, max_pending_of: new Map() }

  function prepare({ keys, ...fixed }: SubmittedJob, at: number, more: Partial<Submission> = {}): NewJob {
    const job: NewJob = newJob({ id: newId(), ...fixed, ...more }, at, rules)
    if (keys.length > 0) job.keys = keys
    return job
  }

  /** What a job waited for may have been over when it was stored: it has moved once more. */
  function tellSubmitted(jobs: readonly NewJob[], accepted: readonly Accepted[]): void {
    accepted.forEach(({ job, deduplicated }, i) => {
      if (deduplicated) return
      tell('submit', jobs.slice(i, i + 1))
      if (job.status !== jobs[i]?.status) tell('unblock', [job])
    })
  }

  /** In the order in which the store moved them. */
  function tellDue({ expired, unblocked, promoted }: Due): void {
    tell('expire', expired)
    tell('promote', promoted)
    tell('unblock', unblocked)
  }

  return {
    async submit(submission, at, by = 'client') {
      const refused = refusal()
      if (refused !== null) throw refused
      const job = prepare(submission, at)
      const accepted = await store.submit([job], by === 'client' ? bounds : unbounded)
      tellSubmitted([job], accepted)
      return accepted[0] as Accepted
    },

    async submitBatch(submissions, at, { id, open, on_complete }) {
      const refused = refusal()
      if (refused !== null) throw refused
      const last = on_complete ? submissions.length - 1 : -1
      const jobs = submissions.map((job, i) => prepare(job, at, i === last ? { waits: true } : { batch_id: id }))
      const batch: NewBatch = {
        id,
        created_at: at,
        open_by: open ? node : null,
        on_complete: on_complete ? (jobs.at(-1)?.id ?? null) : null,
      }
      const accepted = await store.submit(jobs, bounds, batch)
      bus.publish({ kind: 'batch', id, jobs: accepted.filter(({ deduplicated }) => !deduplicated).length })
      tellSubmitted(jobs, accepted)
      return accepted
    },

    async closeBatch(id) {
      try {
        await insist(`closing batch ${id}`, async () => tell('unblock', await store.closeBatch(id, now())))
      } catch (error) {
        // Batches of a node that is gone are closed by the next.
        if (!stopped.signal.aborted) throw error
      }
    },

    async cancelBatch(id, detail) {
      for (let after: string | null = ''; after !== null; ) {
        const answer: BatchCancel | null = await store.cancelBatch(id, after, detail, now())
        if (answer === null) return null
        for (const job of answer.requested) bus.publish({ kind: 'cancel_requested', job })
        tell('cancel', answer.cancelled)
        tell('unblock', answer.unblocked)
        after = answer.next
      }
      return store.batch(id)
    },

    async claim(shares, slots, wary) {
      const { expired, promoted, unblocked, ...answer } = await store.claim({ node, shares, slots, now: now(), wary })
      tellDue({ expired, promoted, unblocked })
      tell('claim', answer.claimed)
      return answer
    },

    log: createRunLogs(store, bus, now),

    async checkpoint({ id, run }, value) {
      if (!(await store.checkpoint({ id, run }, value))) throw new Error('this run is over')
    },

    async adjust(id, change) {
      const answer = await store.adjust(id, change, now())
      if (answer === null) return null
      const { job, before, changed } = answer
      if (!changed && isFinal(before)) throw new ServiceError('job_final', `job ${id} is ${before} already`)
      if (!changed && before === 'processing') throw new ServiceError('job_running', `job ${id} is ${before}`)
      if (!changed && isTooLate(job, change)) throw tooLate(job)
      tell('adjust', [job])
      return job
    },

    async progress({ id, run, progress, note }) {
      try {
        const { lost, cancel_requested } = await store.renew([{ id, run, progress, note, at: now() }])
        if (lost.length === 0) bus.publish({ kind: 'progress', id, run, progress, note })
        if (lost.length + cancel_requested.length > 0) bus.publish({ kind: 'stop_wanted', id, run })
      } catch (error) {
        bus.publish({ kind: 'store_trouble', doing: `storing progress of ${id}`, message: String(error) })
      }
    },

    async keep({ id, run }, outcome) {
      if (outcome.kind !== 'completed' || outcome.artifacts.length === 0) return outcome
      const { artifacts } = outcome
      try {
        await insist(`keeping the artifacts of ${id}`, () => files.keep({ id, run }, artifacts))
        return outcome
      } catch (error) {
        if (stopped.signal.aborted || error instanceof ServiceError) throw error
        const message = `its artifacts cannot be kept: ${error instanceof Error ? error.message : error}`
        return { kind: 'failed', code: 'artifact_failed', message, retryable: true }
      }
    },

    async settle(job, outcome, backoff) {
      const { id, run } = job
      try {
        await end({ id, run, step: stepAfter(job, outcome, backoff, random()), now: now() }, outcome)
      } catch (error) {
        if (stopped.signal.aborted || error instanceof ServiceError) throw error
        // The store cannot take this outcome, now or later: the job must not stay `processing` for it.
        const message = `its outcome (${outcome.kind}) cannot be stored: ${error instanceof Error ? error.message : error}`
        await end({ id, run, step: { verb: 'fail', error: unstorable(job, message) }, now: now() }, outcome)
      }
    },

    async cancel(id, detail) {
      const answer = await store.cancel(id, detail, now())
      if (answer?.answer === 'requested') bus.publish({ kind: 'cancel_requested', job: answer.job })
      if (answer?.answer === 'cancelled') tell('cancel', [answer.job])
      tell('unblock', answer?.unblocked ?? [])
      return answer
    },

    async rerun(id) {
      const answer = await store.rerun(id, now())
      if (answer === null) return null
      if (!answer.changed) throw new ServiceError('job_not_final', `job ${id} is ${answer.job.status}; cancel it first`)
      tell('rerun', [answer.job])
      return answer.job
    },

    async remove(id) {
      const answer = await store.remove(id)
      if (answer === null) return null
      const { job, removed } = answer
      if (!removed && isFinal(job.status))
        throw new ServiceError('job_needed', `a job that is not final depends on ${id}; cancel that one first`)
      if (!removed) throw new ServiceError('job_not_final', `job ${id} is ${job.status}; cancel it first`)
      const artifacts = job.artifacts === null ? [] : [{ id, run: job.run }]
      bus.publish({ kind: 'pruned', ids: [id], bytes: job.bytes, artifacts })
      return job
    },

    async pause(type, paused) {
      const pauses = await store.pause(type, paused)
      bus.publish({ kind: 'pauses', ...pauses })
      return pauses
    },

    async prune(request) {
      const pruned = await store.prune(request)
      if (pruned.ids.length > 0) bus.publish({ kind: 'pruned', ...pruned })
      return pruned
    },

    async tick() {
      const { rescued, next_due, ...due } = await store.tick({ node, now: now() })
      tellDue(due)
      for (const job of rescued) tell(job.status === 'pending' ? 'rescue' : verbOf(job), [job])
      return { rescued: rescued.length, next_due }
    },

    stop: () => stopped.abort(),
  }
}

function unstorable({ attempt }: Job, message: string): ErrorRecord {
  return { code: 'outcome_not_storable', message, attempt }
}

function tooLate({ start_by }: Job): ServiceError {
  const detail = `must be earlier than ${timestamp(start_by ?? 0)}, its start_by`
  return new ServiceError('invalid_request', `/run_at: ${detail}`, { errors: [{ pointer: '/run_at', detail }] })
}

/** What ended a run, read off the job after it: the store may have overruled the step that was asked for. */
function verbOf(job: Job): Verb {
  if (job.status === 'completed') return 'complete'
  if (job.status === 'failed') return 'fail'
  if (job.status === 'cancelled') return 'cancel'
  if (job.status === 'scheduled') return 'snooze'
  return job.status === 'retrying' ? 'retry' : 'release'
}
