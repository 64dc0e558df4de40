// Every error that jobmill can return or record: its code, HTTP status and title, in one table.

/** Errors of a request: they become `application/problem+json` (RFC 9457). */
export const PROBLEMS = {
  malformed_request: { status: 400, title: 'The request cannot be read' },
  invalid_query: { status: 400, title: 'The query string is not valid' },
  unauthorized: { status: 401, title: 'An API key is needed' },
  insufficient_scope: { status: 403, title: 'The API key may not do this' },
  forbidden_host: { status: 403, title: 'The Host header is not one of this server' },
  forbidden_origin: { status: 403, title: 'A web page of another site may not do this' },
  not_found: { status: 404, title: 'There is nothing here' },
  artifact_not_found: { status: 404, title: 'There is no such artifact' },
  job_not_found: { status: 404, title: 'There is no such job' },
  batch_not_found: { status: 404, title: 'There is no such batch' },
  digest_not_found: { status: 404, title: 'There is no such digest' },
  schedule_not_found: { status: 404, title: 'There is no such schedule' },
  node_not_found: { status: 404, title: 'There is no such node' },
  method_not_allowed: { status: 405, title: 'The method is not allowed here' },
  job_deleted: { status: 409, title: 'The job of the Idempotency-Key was deleted' },
  job_final: { status: 409, title: 'The job is final' },
  job_running: { status: 409, title: 'The job is running' },
  job_needed: { status: 409, title: 'Another job needs this one' },
  batch_closed: { status: 409, title: 'The batch takes no more jobs' },
  job_not_final: { status: 409, title: 'The job is not final' },
  schedule_fixed: { status: 409, title: 'The schedule is defined in the configuration' },
  digest_empty: { status: 409, title: 'The digest has nothing to tell' },
  schedule_running: { status: 409, title: 'A run of the schedule is not over' },
  body_too_large: { status: 413, title: 'The body is too large' },
  range_not_satisfiable: { status: 416, title: 'The artifact has no such range' },
  unsupported_media_type: { status: 415, title: 'The body has a form that is not read here' },
  invalid_job: { status: 422, title: 'The job is not valid' },
  invalid_request: { status: 422, title: 'The body is not valid' },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key belongs to another request' },
  unknown_dependency: { status: 422, title: 'There is no such job to depend on' },
  unknown_type: { status: 422, title: 'There is no such job type' },
  disabled_type: { status: 422, title: 'The job type is disabled' },
  internal_error: { status: 500, title: 'Something went wrong inside jobmill' },
  queue_full: { status: 503, title: 'The queue is full' },
  digest_full: { status: 503, title: 'The digest takes no more events before its next mail' },
  draining: { status: 503, title: 'The server is shutting down' },
  too_many_streams: { status: 503, title: 'As many streams are open as there may be' },
  not_ready: { status: 503, title: 'The server is not ready' },
  not_alive: { status: 503, title: 'A part of the server is stuck' },
  store_busy: { status: 503, title: 'The database cannot be used now' },
  outcome_unknown: { status: 503, title: 'It is not known whether the write was stored' },
  storage_full: { status: 507, title: 'There is no space left for more jobs' },
} as const

export type ProblemCode = keyof typeof PROBLEMS

/** One field of a request that is not as it must be; `pointer` is a JSON Pointer (RFC 6901) into the body. */
export interface FieldError {
  pointer: string
  detail: string
}

/** The one exception that becomes an answer to a client; anything else is an internal error. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly code: ProblemCode
  readonly errors: FieldError[] | undefined
  /** Whole seconds for `Retry-After`. */
  readonly retry_after: number | undefined

  constructor(code: ProblemCode, detail: string, more: { errors?: FieldError[]; retry_after?: number } = {}) {
    super(detail)
    this.code = code
    this.errors = more.errors
    this.retry_after = more.retry_after
  }
}

/** Why a run or a job failed; `error.code` of a job is one of these. */
export const JOB_ERROR_CODES = [
  'handler_error',
  'timeout',
  'out_of_memory',
  'thread_died',
  'poison',
  'result_not_serialisable',
  'result_too_large',
  'outcome_not_storable',
  'payload_invalid',
  'dependency_failed',
  'start_by_passed',
  'artifact_failed',
  'artifact_too_large',
  'type_unavailable',
] as const
export type JobErrorCode = (typeof JOB_ERROR_CODES)[number]

/** How a run failed, as it is stored with its attempt; a job shows it without the stack. */
export interface ErrorRecord {
  code: JobErrorCode
  message: string
  attempt: number
  stack?: string
}
