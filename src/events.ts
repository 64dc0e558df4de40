// What happened, told once where it happens; log lines and statistics are made of it elsewhere.
import type { ProblemCode } from './errors.js'
import type { EventVerb, Job } from './job.js'

export type LoopState = 'running' | 'waiting' | 'stopped'

export type ServiceEvent =
  /** A job moved. `job` is as it is now. */
  | { kind: 'job'; verb: EventVerb; job: Job }
  /** A job that somebody here waits for or watches moved on another node. It is as it was read since: not each move is told. */
  | { kind: 'job_elsewhere'; job: Job }
  /**
   * On other nodes jobs became pending, are pending no longer, were claimed; upkeep has to do with some at `due_at`
   * (milliseconds since 1970); schedules changed, or had ticks.
   */
  | { kind: 'elsewhere'; pending: boolean; left: boolean; claims: number; due_at: number | null; schedules: boolean }
  /** What happened on other nodes may have gone by unheard. */
  | { kind: 'gap' }
  | { kind: 'cancel_requested'; job: Job }
  /** So many jobs came into the batch; each is told by itself, too. */
  | { kind: 'batch'; id: string; jobs: number }
  | { kind: 'progress'; id: string; run: number; progress: number; note: string | null }
  | { kind: 'job_log'; id: string; run: number; message: string }
  /** A schedule was put, deleted, paused or resumed. */
  | { kind: 'schedule'; verb: 'put' | 'delete' | 'pause' | 'resume'; name: string }
  /** Ticks of a schedule had their record: so many made a job, so many did not. */
  | { kind: 'ticks'; name: string; ran: number; skipped: number }
  /** What is paused now. */
  | { kind: 'pauses'; all: boolean; types: readonly string[] }
  /** A run is not to go on: its cancel was asked for, or its job is no longer this run's. */
  | { kind: 'stop_wanted'; id: string; run: number }
  /** Final jobs were deleted; `artifacts` are the runs of those that had some. */
  | { kind: 'pruned'; ids: readonly string[]; bytes: number; artifacts: readonly { id: string; run: number }[] }
  /** An outcome came after its run was over: it changed nothing. */
  | { kind: 'late_outcome'; id: string; run: number; outcome: string }
  /** An error that belongs to no run that still goes on. */
  | { kind: 'stray_error'; id: string | null; run: number | null; message: string; stack: string | undefined }
  /** A request, or a line of a stream, was answered with a problem. */
  | { kind: 'refused'; code: ProblemCode }
  /** A write was refused and will be sent again. */
  | { kind: 'store_trouble'; doing: string; message: string }
  /** The database cannot be trusted with writes any more: the process is to end and to recover from what is on disk. */
  | { kind: 'store_failed'; message: string }
  /** Threads die while they start, and why; or null: they start again. */
  | { kind: 'threads'; failure: string | null }
  /** The database met a full disk: nothing of a transaction was written. */
  | { kind: 'disk_full' }
  /** Free space fell below its floor or is above it again, or the ballast was given up or made. `well`: for the better. */
  | { kind: 'disk_space'; well: boolean; message: string }
  /** A sign of life: the loop begins a pass, ended one and waits for the next, or was stopped for good. `wait` is milliseconds. */
  | { kind: 'loop'; loop: string; state: LoopState; wait?: number }
  | { kind: 'pass_failed'; loop: string; message: string; stack: string | undefined }
  | { kind: 'request_failed'; method: string; path: string; message: string; stack: string | undefined }

export interface EventBus {
  publish(event: ServiceEvent): void
  /** Subscribers are called at once, in order; they must not throw. Returns the way out. */
  subscribe(subscriber: (event: ServiceEvent) => void): () => void
}

export function createEventBus(): EventBus {
  const subscribers = new Set<(event: ServiceEvent) => void>()
  return {
    publish(event) {
      for (const subscriber of subscribers) subscriber(event)
    },
    subscribe(subscriber) {
      subscribers.add(subscriber)
      return () => subscribers.delete(subscriber)
    },
  }
}
