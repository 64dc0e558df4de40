// The messages between the pool and its threads; both sides import this file and nothing of each other.
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
}

/** To a thread: one run of one job. */
export interface Task extends RunKey {
  type: string
  attempt: number
  payload: JsonText
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
    | { kind: 'started'; thread: number }
    | ({ kind: 'progress' } & Progress)
    | { kind: 'log'; message: string }
    /** Thrown outside the handler's promise: by a timer, an event, a forgotten promise. */
    | { kind: 'uncaught'; failure: Failure }
  )

/** To all threads; the one that runs this run fires its signal. */
export type StopRequest = RunKey & { reason: StopReason }

export function isThreadMessage(message: unknown): message is ThreadMessage {
  return message !== null && typeof message === 'object' && 'kind' in message && 'id' in message && 'run' in message
}
