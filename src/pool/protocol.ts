// The messages between the pool and its threads; both sides import this file and nothing of each other.
import type { MessagePort } from 'node:worker_threads'
import type { StopReason } from '../define-job.js'
import type { JsonText } from '../job.js'
import type { Failure, Outcome } from '../outcome.js'

/** Given to every thread when it starts. */
export interface ThreadData {
  /** Name of the BroadcastChannel that carries StopRequests. */
  channel: string
  /** The folder that `ctx.resolve` starts at. */
  dir: string
  types: Record<string, { url: string; config: unknown }>
  /** A thread is replaced after so many jobs, or where a job leaves more than so many bytes of heap behind it. */
  recycle: { jobs: number; heap: number }
  limits: Limits
}

/** What one job may make the service keep. All but the number of lines are bytes. */
export interface Limits {
  payload: number
  result: number
  /** Message and stack together. */
  error: number
  /** Of one run. */
  log_lines: number
  log_line: number
  checkpoint: number
}

/** To a thread: one run of one job. */
export interface Task extends RunKey {
  type: string
  attempt: number
  payload: JsonText
  /** Whether an earlier run may have left a checkpoint. */
  resumed: boolean
  /** How many jobs it depends on. */
  dependencies: number
  /** Where the artifacts of this run are written; made with the first of them. */
  folder: string
}

export interface RunKey {
  id: string
  run: number
}

/** From a thread when the run has ended. */
export interface Report {
  outcome: Outcome
  /** The last progress: its own message may be held back by the throttle, or overtaken by this report. */
  progress: Progress | null
}

export interface Progress {
  /** 0 to 100, whole. */
  percent: number
  note: string | null
}

/** From a thread while a run goes on. */
export type ThreadMessage = RunKey &
  (
    | { kind: 'started' }
    | ({ kind: 'progress' } & Progress)
    | { kind: 'log'; message: string }
    /** Thrown outside the handler's promise: by a timer, an event, a forgotten promise. */
    | { kind: 'uncaught'; failure: Failure }
    /** The run has ended, and its thread is to end with it: no other task may reach it. */
    | { kind: 'last_report'; report: Report }
    /** The handler's first call of the main thread: it and all further ones come through `port`. */
    | { kind: 'calls'; port: MessagePort }
  )

/** Through the port of a run: one call of the main thread, and its answer. */
export interface Call {
  call: number
  method: string
  args: unknown
}
export type Answer = { call: number } & ({ value: unknown } | { error: { message: string; retryable: boolean } })

/** To all threads; the one that runs this run fires its signal. */
export type StopRequest = RunKey & { reason: StopReason }

/** The last line that is kept of a run which logs more than it may. */
export const lastLine = (log_lines: number) => `no more lines are logged for this run after ${log_lines}`
