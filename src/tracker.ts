// The only writer of job state: each verb goes to the store, and each write that took effect becomes one event.
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackoffPolicy } from './backoff.js'
import { ServiceError } from './errors.js'
import type { EventBus } from './events.js'
import type { Job, JobWithPayload, Rules, Verb } from './job.js'
import { newJob, type Submission } from './new-job.js'
import { type Outcome, stepAfter } from './outcome.js'
import type { Bounds, CancelAnswer, Ending, ProgressReport, Store } from './store/store.js'

export interface TrackerOptions {
  store: Store
  bus: EventBus
  node: string
  rules: Rules
  bounds: Bounds
  /** Milliseconds since 1970. */
  now(): number
  newId(): string
  /** A number in [0, 1), for the jitter of retries. */
  random(): number
}

export interface JobTracker {
  /** Resolves when the job, received `at` that time, is on disk. Rejects with `queue_full` and what Store says of writes. */
  submit(submission: Omit<Submission, 'id'>, at: number): Promise<JobWithPayload>
  claim(types: readonly string[], slots: readonly number[]): Promise<JobWithPayload[]>
  /** Never rejects: progress that could not be stored is superseded by the next. */
  progress(report: Omit<ProgressReport, 'at'>): Promise<void>
  /** Resolves when the outcome is on disk, or was found to be late; an outcome is sent again until then. */
  settle(job: Job, outcome: Outcome, backoff: BackoffPolicy): Promise<void>
  /** Null: there is no such job. */
  cancel(id: string, detail: string): Promise<CancelAnswer | null>
  /** Rejects with `job_not_final`. Null: there is no such job. */
  rerun(id: string): Promise<Job | null>
  /** Promotes and rescues; answers when the next job becomes due. */
  tick(): Promise<number | null>
  /** Gives up on outcomes that the store still refuses: their jobs are rescued at the next start. */
  stop(): void
}

/** Pauses between the tries to store an outcome: doubled up to the last. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 5_000

export function createTracker({ store, bus, node, rules, bounds, now, newId, random }: TrackerOptions): JobTracker {
  const stopped = new AbortController()

  function tell<J extends Job>(verb: Verb, jobs: readonly J[]): void {
    for (const job of jobs) bus.publish({ kind: 'job', verb, job })
  }

  async function settled(ending: Ending): Promise<Job | null> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        const [job] = await store.settle([ending])
        return job ?? null
      } catch (error) {
        if (!(error instanceof ServiceError) || stopped.signal.aborted) throw error
        bus.publish({ kind: 'store_trouble', doing: `storing the outcome of ${ending.id}`, message: error.message })
        await sleep(pause, undefined, { signal: stopped.signal })
      }
    }
  }

  return {
    async submit(submission, at) {
      const job = newJob({ id: newId(), ...submission }, at, rules)
      await store.submit([job], bounds)
      tell('submit', [job])
      return job
    },

    async claim(types, slots) {
      const { promoted, claimed } = await store.claim({ node, types, slots, now: now() })
      tell('promote', promoted)
      tell('claim', claimed)
      return claimed
    },

    async progress({ id, run, progress, note }) {
      try {
        const { lost } = await store.renew([{ id, run, progress, note, at: now() }])
        if (lost.length === 0) bus.publish({ kind: 'progress', id, run, progress, note })
      } catch (error) {
        bus.publish({ kind: 'store_trouble', doing: `storing progress of ${id}`, message: String(error) })
      }
    },

    async settle(job, outcome, backoff) {
      const step = stepAfter(job, outcome, backoff, random())
      const { id, run } = job
      const after = await settled({ id, run, step, now: now() })
      if (after === null) bus.publish({ kind: 'late_outcome', id, run, outcome: outcome.kind })
      else tell(verbOf(after), [after])
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

    async tick() {
      const { promoted, rescued, next_due } = await store.tick({ node, now: now() })
      tell('promote', promoted)
      for (const job of rescued) tell(job.status === 'pending' ? 'rescue' : verbOf(job), [job])
      return next_due
    },

    stop: () => stopped.abort(),
  }
}

/** What ended a run, read off the job after it: the store may have overruled the step that was asked for. */
function verbOf(job: Job): Verb {
  if (job.status === 'completed') return 'complete'
  if (job.status === 'failed') return 'fail'
  if (job.status === 'cancelled') return 'cancel'
  return job.status === 'retrying' ? 'retry' : 'release'
}
