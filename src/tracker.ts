// The only writer of job state: each verb goes to the store, and each write that took effect becomes one event.
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackoffPolicy } from './backoff.js'
import { type ErrorRecord, ServiceError } from './errors.js'
import type { EventBus } from './events.js'
import type { Job, Rules, Verb } from './job.js'
import { newJob, type Submission } from './new-job.js'
import { type Outcome, stepAfter } from './outcome.js'
import type { Share } from './slot-shares.js'
import type {
  Accepted,
  Bounds,
  CancelAnswer,
  Claimed,
  Ending,
  JobKey,
  NewJob,
  Pauses,
  ProgressReport,
  Pruned,
  PruneRequest,
  Store,
} from './store/store.js'

export interface TrackerOptions {
  store: Store
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
export interface SubmittedJob extends Omit<Submission, 'id'> {
  keys: readonly JobKey[]
}

export interface JobTracker {
  /**
   * Resolves when the job, received `at` that time, is on disk. Rejects with `queue_full`, with `refusal` and what Store says of writes.
   * A job that another one submits is not bounded by `max_pending`: its handler holds a slot meanwhile.
   */
  submit(submission: SubmittedJob, at: number, by?: 'client' | 'handler'): Promise<Accepted>
  claim(shares: readonly Share[], slots: readonly number[], wary: boolean): Promise<Omit<Claimed, 'promoted'>>
  /** Never rejects: progress that could not be stored is superseded by the next. */
  progress(report: Omit<ProgressReport, 'at'>): Promise<void>
  /** Resolves when the outcome is on disk, or was found to be late; an outcome is sent again until then. */
  settle(job: Job, outcome: Outcome, backoff: BackoffPolicy): Promise<void>
  /** Null: there is no such job. */
  cancel(id: string, detail: string): Promise<CancelAnswer | null>
  /** Rejects with `job_not_final`. Null: there is no such job. */
  rerun(id: string): Promise<Job | null>
  /** Deletes a final job. Rejects with `job_not_final`. Null: there is no such job. */
  remove(id: string): Promise<Job | null>
  /** Pauses a type, or all with null, or lifts that pause; answers all pauses. */
  pause(type: string | null, paused: boolean): Promise<Pauses>
  prune(request: PruneRequest): Promise<Pruned>
  /** Promotes and rescues; answers how many were rescued, and when the next job becomes due. */
  tick(): Promise<{ rescued: number; next_due: number | null }>
  /** Gives up on outcomes that the store still refuses: their jobs are rescued at the next start. */
  stop(): void
}

/** Pauses between the tries to store an outcome: doubled up to the last. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 5_000

export function createTracker(options: TrackerOptions): JobTracker {
  const { store, bus, node, rules, bounds, refusal, now, newId, random } = options
  const stopped = new AbortController()

  function tell<J extends Job>(verb: Verb, jobs: readonly J[]): void {
    for (const job of jobs) bus.publish({ kind: 'job', verb, job })
  }

  /** Sends the ending until it is stored. It is told in the turn in which the store answers, so events keep the order of writes. */
  async function end(ending: Ending, outcome: Outcome): Promise<void> {
    const { id, run } = ending
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        const [after = null] = await store.settle([ending])
        if (after === null) bus.publish({ kind: 'late_outcome', id, run, outcome: outcome.kind })
        else tell(verbOf(after), [after])
        return
      } catch (error) {
        if (!(error instanceof ServiceError) || stopped.signal.aborted) throw error
        bus.publish({ kind: 'store_trouble', doing: `storing the outcome of ${id}`, message: error.message })
        await sleep(pause, undefined, { signal: stopped.signal })
      }
    }
  }

  return {
    async submit(submission, at, by = 'client') {
      const refused = refusal()
      if (refused !== null) throw refused
      const { keys, ...fixed } = submission
      const job: NewJob = newJob({ id: newId(), ...fixed }, at, rules)
      if (keys.length > 0) job.keys = keys
      const within = by === 'client' ? bounds : { ...bounds, max_pending: Number.POSITIVE_INFINITY }
      const [accepted] = (await store.submit([job], within)) as [Accepted]
      if (!accepted.deduplicated) tell('submit', [job])
      return accepted
    },

    async claim(shares, slots, wary) {
      const { promoted, ...answer } = await store.claim({ node, shares, slots, now: now(), wary })
      tell('promote', promoted)
      tell('claim', answer.claimed)
      return answer
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
      const { promoted, rescued, next_due } = await store.tick({ node, now: now() })
      tell('promote', promoted)
      for (const job of rescued) tell(job.status === 'pending' ? 'rescue' : verbOf(job), [job])
      return { rescued: rescued.length, next_due }
    },

    stop: () => stopped.abort(),
  }
}

function unstorable({ attempt }: Job, message: string): ErrorRecord {
  return { code: 'outcome_not_storable', message, attempt }
}

/** What ended a run, read off the job after it: the store may have overruled the step that was asked for. */
function verbOf(job: Job): Verb {
  if (job.status === 'completed') return 'complete'
  if (job.status === 'failed') return 'fail'
  if (job.status === 'cancelled') return 'cancel'
  return job.status === 'retrying' ? 'retry' : 'release'
}
