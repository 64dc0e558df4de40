// What can go wrong: which problems every operation may answer, and each as an example and as part of an answer.
import { z } from 'zod'
import { PROBLEMS, type ProblemCode } from '../../errors.js'
import type { ResponseHeader } from './headers.js'
import type { Operation } from './operation.js'

/** A body was read. */
export const OF_BODIES: readonly ProblemCode[] = ['body_too_large', 'unsupported_media_type']
/** Something was to be stored. */
export const OF_WRITES: readonly ProblemCode[] = ['storage_full', 'store_busy', 'outcome_unknown']
/** A job was submitted. */
export const OF_SUBMISSIONS: readonly ProblemCode[] = [
  ...OF_BODIES,
  ...OF_WRITES,
  'invalid_job',
  'unknown_type',
  'disabled_type',
  'unknown_dependency',
  'idempotency_key_reused',
  'job_deleted',
  'queue_full',
  'draining',
]

export const problem = z
  .strictObject({
    type: z.string().describe('`urn:jobmill:problem:` and the code.'),
    title: z.string().describe('What the code means, the same each time.'),
    status: z.int().describe('The status of the answer.'),
    detail: z.string().describe('What is wrong this time.'),
    instance: z.string().optional().describe('The path that was asked for; not in lines of a stream.'),
    code: z.enum(Object.keys(PROBLEMS)).describe('What programs tell problems apart by.'),
    errors: z
      .array(
        z.strictObject({
          pointer: z.string().describe('A JSON Pointer (RFC 6901) into the body; "" is all of it.'),
          detail: z.string(),
        }),
      )
      .optional()
      .describe('Each field that is not as it must be.'),
  })
  .describe('Why a request was refused (RFC 9457).')

/** All that an operation may answer, by status. */
export function problemsOf({ method, path, scope, problems, query }: Operation): Map<number, ProblemCode[]> {
  const codes = new Set<ProblemCode>([
    ...problems,
    'malformed_request',
    'forbidden_host',
    'internal_error',
    ...(scope === null ? [] : (['unauthorized', 'insufficient_scope'] as const)),
    ...(method === 'get' ? [] : (['forbidden_origin'] as const)),
    ...(query === undefined ? [] : (['invalid_query'] as const)),
  ])
  const known = (Object.keys(PROBLEMS) as ProblemCode[]).filter((code) => codes.has(code))
  if (known.length !== codes.size) throw new Error(`${method} ${path} names a problem that there is none of`)
  const groups = new Map<number, ProblemCode[]>()
  for (const code of known) groups.set(PROBLEMS[code].status, [...(groups.get(PROBLEMS[code].status) ?? []), code])
  return groups
}

/** They say when to come back. */
const BUSY: readonly ProblemCode[] = ['queue_full', 'draining', 'too_many_streams', 'store_busy', 'outcome_unknown']

/** Of the answers with these codes, which share a status. */
export function headersOf(codes: readonly ProblemCode[]): readonly ResponseHeader[] {
  if (codes.includes('unauthorized')) return ['WWW-Authenticate']
  if (codes.includes('insufficient_scope')) return ['WWW-Authenticate?']
  if (codes.includes('range_not_satisfiable')) return ['Content-Range']
  if (codes.every((code) => BUSY.includes(code))) return ['Retry-After']
  return codes.some((code) => BUSY.includes(code)) ? ['Retry-After?'] : []
}

/** Where a sentence of the table would say little about what a client has to do. */
const DETAILS: Partial<Record<ProblemCode, string>> = {
  malformed_request: 'the body is not JSON: Unexpected end of JSON input',
  invalid_query: 'limit: must be a whole number from 1 to 500, is "many"',
  unauthorized: 'send Authorization: Bearer with an API key of this server',
  insufficient_scope: 'the key "reader" has no scope jobs:write',
  forbidden_host: 'this server answers to localhost, 127.0.0.1 and [::1]',
  forbidden_origin: 'a page of another site may not change anything here',
  job_not_found: 'there is no job 0197c9a0-0000-7000-8000-000000000000',
  body_too_large: 'the body may have 1048576 bytes (server.body_limit)',
  unsupported_media_type: 'multipart/form-data is not read here, send JSON',
  invalid_job: '/priority: must be a whole number from 1 (high) to 5 (low), is "high"',
  invalid_request: '/reason: must be a text, is 5',
  unknown_type: 'there is no job type "emial"',
  queue_full: 'worker.queue_size of 100 pending jobs is reached',
  draining: 'no new jobs are taken',
  internal_error: 'the server log says more',
}

const POINTERS: Partial<Record<ProblemCode, string>> = {
  invalid_job: '/priority',
  invalid_request: '/reason',
  unknown_type: '/type',
}

export function exampleOf(code: ProblemCode): z.output<typeof problem> {
  const { status, title } = PROBLEMS[code]
  const detail = DETAILS[code] ?? title.charAt(0).toLowerCase() + title.slice(1)
  const pointer = POINTERS[code]
  return {
    type: `urn:jobmill:problem:${code}`,
    title,
    status,
    detail,
    instance: '/jobs',
    code,
    ...(pointer === undefined ? {} : { errors: [{ pointer, detail: detail.replace(`${pointer}: `, '') }] }),
  }
}
