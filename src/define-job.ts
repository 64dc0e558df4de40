// What a job type is and what its handler is given: all that a file in workers/ imports from src.
import type { z } from 'zod'
import type { BackoffPolicy } from './backoff.js'
import { parseDuration } from './duration.js'

/** Why a running job was asked to stop; `ctx.signal.reason` is one of these words. */
export type StopReason = 'cancelled' | 'timeout' | 'shutdown'

/** A span of time: seconds as a number, or text such as "500ms", "30s", "5m". */
export type Span = number | string

export interface JobContext<Config = unknown> {
  readonly id: string
  /** 1 for the first attempt. */
  readonly attempt: number
  /** Raised at every start of the handler and never lowered, also across interruptions. */
  readonly run: number
  /** Fires when the job is asked to stop; a handler that goes on is terminated after `worker.cancel_grace`. */
  readonly signal: AbortSignal
  /** The type's own keys under `jobs.<type>`, checked against its `config` schema. */
  readonly config: Config
  /** Absolute form of a path from the configuration: relative ones start at the config file's folder. */
  resolve(path: string): string
  /** Publishes 0 to 100 percent (rounded, clamped) and a note; at most four a second are stored, the last one always. */
  progress(percent: number, note?: string): Promise<void>
  /** Writes one line to the service's log, with the job's id; at most 1,000 lines a run. */
  log(message: string): void
}

export interface JobDefinition<Payload extends z.ZodType = z.ZodType, Config extends z.ZodType = z.ZodType> {
  description?: string
  /** Schema of the payload, or a function of the type's config that returns one. Left out: any JSON. */
  payload?: Payload | ((config: z.output<Config>) => Payload)
  /** Schema of the type's own keys under `jobs.<type>` in config.yaml. */
  config?: Config
  /** Longest run of one attempt; default `worker.job_timeout`. */
  timeout?: Span
  /** Further attempts after the first, 0 to 100; default 3. */
  retry_count?: number
  /** `base` and `max` as spans; default 1s, ×2, at most 5m, jitter 0.1. */
  backoff?: Partial<{ base: Span; max: Span } & Pick<BackoffPolicy, 'factor' | 'jitter'>>
  /** The handler. What it returns is stored as the job's result, so it has to be JSON. */
  run(payload: z.output<Payload>, ctx: JobContext<z.output<Config>>): unknown
}

/** Adds types to a definition and nothing else: a plain object with the same fields is as good. */
export function defineJob<Payload extends z.ZodType = z.ZodUnknown, Config extends z.ZodType = z.ZodUnknown>(
  definition: JobDefinition<Payload, Config>,
): JobDefinition<Payload, Config> {
  return definition
}

/** Thrown by a handler when a further attempt cannot help: the job fails at once. */
export class NonRetryableError extends Error {
  override readonly name = 'NonRetryableError'
  readonly retryable = false
}

/** Thrown by a handler that knows when to try again: overrides the backoff of this attempt. */
export class RetryAfterError extends Error {
  override readonly name = 'RetryAfterError'
  readonly retry_after_ms: number

  /** @throws RangeError when `delay` is no span */
  constructor(delay: Span, message = 'asked to be tried again later') {
    super(message)
    const ms = parseDuration(delay)
    if (ms === null) throw new RangeError(`RetryAfterError: "${delay}" is not a span of time`)
    this.retry_after_ms = ms
  }
}
