// What a job type is and what its handler is given: all that a file in workers/ imports from src.
import type { Readable, Writable } from 'node:stream'
import type { z } from 'zod'
import type { BackoffPolicy } from './backoff.js'
import type { FinalStatus, JobStatus } from './job.js'
import { parseDuration } from './span.js'

export { sqlitePackage } from './sqlite-package.js'

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
  /** Keeps one line with this run, and writes it to the service's log; at most `limits.log_lines` a run. */
  log(message: string): void
  /**
   * A file that this job makes. It is stored under this run and shown only when the job completes; end the stream
   * before the handler returns. Throws where the name is none or was used before; the stream fails with
   * `artifact_too_large` beyond `data.artifacts.max_bytes` or the quota `data.max_bytes`.
   */
  artifact(name: string, options?: ArtifactOptions): Writable
  /**
   * Keeps a value (any JSON up to `limits.checkpoint`) for the runs after this one: after a retry, a crash, a snooze, and
   * a rerun of a job that did not complete. Resolves when it is on disk.
   */
  checkpoint(value: unknown): Promise<void>
  /** What an earlier run kept last; null where none did. */
  readonly lastCheckpoint: unknown
  /** Ends this run, by throwing: the job runs again after `delay`, and this attempt is not charged. */
  snooze(delay: Span): never
  /** The jobs of `depends_on`, in that order, but for those that were deleted since. */
  readonly dependencies: readonly Dependency[]
  /** jobmill's own jobs, read and deleted by the main thread. */
  readonly jobs: JobAccess
  /** An artifact of a completed job. Rejects where there is none. */
  openArtifact(id: string, name: string): Promise<ArtifactReader>
  /** Submits a job as `POST /jobs` does, except that `worker.queue_size` does not bound it. Resolves when it is on disk. */
  submit(job: JobRequest): Promise<{ id: string; status: JobStatus; deduplicated: boolean }>
}

/** A job that this one depends on, as it ended. */
export interface Dependency {
  id: string
  type: string
  status: FinalStatus
  result: unknown
  error: { code: string; message: string } | null
  artifacts: readonly { name: string; bytes: number; content_type: string }[]
}

export interface ArtifactOptions {
  /** A media type; by default the one that the ending of the name stands for. */
  content_type?: string
}

export interface ArtifactReader {
  name: string
  content_type: string
  bytes: number
  /** Read in pieces as they are asked for. */
  stream: Readable
}

/** The body of `POST /jobs`. */
export interface JobRequest {
  type: string
  payload?: unknown
  priority?: number
  delay?: Span
  run_at?: string
  timeout?: Span
  retry_count?: number
  unique_key?: string
  unique_for?: Span
  start_by?: string
  concurrency_key?: string
  depends_on?: string[]
  on_dependency_failure?: 'fail' | 'run'
  tags?: Record<string, string>
}

/** A job as `GET /jobs/:id` answers it. */
export type JobRecord = Record<string, unknown> & { id: string; type: string; status: JobStatus }

export interface JobAccess {
  /** A piece of the jobs that fit, oldest first: at most 500 and about 1 MiB. Go on with `next_cursor` until it is null. */
  page(filter: JobPageFilter, cursor?: string | null): Promise<{ jobs: JobRecord[]; next_cursor: string | null }>
  /** How many jobs fit. */
  count(filter: JobPageFilter): Promise<number>
  /**
   * Deletes a piece of the final jobs that fit, with their artifacts, or only counts them with `dry_run`. Go on with
   * `next_cursor` until it is null.
   */
  prune(filter: PruneFilter, cursor?: string | null): Promise<PruneAnswer>
}

export interface JobPageFilter {
  status?: JobStatus[]
  type?: string
  /** Milliseconds since 1970: created at or after `created_from`, and before `created_before`. */
  created_from?: number
  created_before?: number
}

export interface PruneFilter {
  /** Left out: all three. */
  status?: FinalStatus[]
  type?: string
  /** Milliseconds since 1970: only jobs that ended before. */
  finished_before: number
  dry_run?: boolean
}

export interface PruneAnswer {
  jobs: number
  /** What payloads, results and artifacts of these jobs took. */
  bytes: number
  next_cursor: string | null
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
  /** Jobs of this type that may run at once on a node; default: as many as there are slots. */
  concurrency?: number
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

/** Thrown by a handler that finds out only at work that the payload cannot be meant: not retried, code `payload_invalid`. */
export class InvalidPayloadError extends Error {
  override readonly name = 'InvalidPayloadError'
  readonly code = 'payload_invalid'
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
