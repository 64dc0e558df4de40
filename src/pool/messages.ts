// What threads post, read on the main side: rebuilt from fields that are checked and cut, or dropped.
import { MessagePort } from 'node:worker_threads'
import { z } from 'zod'
import { cut } from '../cut.js'
import { isArtifactName, MAX_ARTIFACTS, MEDIA_TYPE } from './artifacts.js'
import { RUN_CODES, textsOf } from './failure.js'
import type { Call, Limits, ThreadMessage } from './protocol.js'

/** An id of ours has 36 characters, a method's name fewer. */
const MAX_WORD = 64

const word = z.string().max(MAX_WORD)
const call = z.object({ call: z.int(), method: word, args: z.unknown() })

/** Handlers share the port of their thread and may post what they like: what is none of our messages is null. */
export function createMessageReader(limits: Limits): (value: unknown) => ThreadMessage | null {
  const schema = messageSchema(limits)
  return (value) => schema.safeParse(value).data ?? null
}

export function readCall(value: unknown): Call | null {
  return call.safeParse(value).data ?? null
}

/** Told without reading the rest: it is looked for among messages that are too many to be read. */
export function isStarted(value: unknown): boolean {
  return value !== null && typeof value === 'object' && 'kind' in value && value.kind === 'started'
}

function messageSchema({ error, log_line, result }: Limits) {
  const line = z.string().transform((text) => cut(text, log_line))
  const progress = { percent: z.int().min(0).max(100), note: line.nullable() }
  const failure = {
    code: z.enum(RUN_CODES).catch('handler_error'),
    message: z.string(),
    stack: z.string().optional().catch(undefined),
    retryable: z.boolean().catch(true),
    retry_after_ms: z.number().min(0).optional().catch(undefined),
  }
  const shorten = <F extends { message: string; stack?: string | undefined }>(failure: F) => ({
    ...failure,
    ...textsOf(failure.message, failure.stack, error),
  })
  const outcome = z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('completed'), result: resultSchema(result), artifacts: artifactsSchema() }),
    z.object({ kind: z.literal('snoozed'), delay: z.number().min(0) }),
    z.object({ kind: z.literal('failed'), ...failure }).transform(shorten),
  ])
  const key = { id: word, run: z.int() }
  return z.discriminatedUnion('kind', [
    z.object({ ...key, kind: z.literal('started') }),
    z.object({ ...key, kind: z.literal('progress'), ...progress }),
    z.object({ ...key, kind: z.literal('log'), message: line }),
    z.object({ ...key, kind: z.literal('uncaught'), failure: z.object(failure).transform(shorten) }),
    z.object({
      ...key,
      kind: z.literal('last_report'),
      report: z.object({ outcome, progress: z.object(progress).nullable() }),
    }),
    z.object({ ...key, kind: z.literal('calls'), port: z.instanceof(MessagePort) }),
  ])
}

/** What is stored must be what others can read; to parse a longer text than can be stored may end the process. */
function resultSchema(limit: number) {
  const isShort = (text: string) => text.length <= limit && Buffer.byteLength(text) <= limit
  return z.string().refine(isShort, { abort: true }).refine(isJson).nullable()
}

function artifactsSchema() {
  const artifact = z.object({
    name: z.string().refine(isArtifactName),
    bytes: z.int().min(0),
    content_type: z.string().max(512).regex(MEDIA_TYPE),
  })
  // Counted first: an array's own bound is checked after its elements.
  return z
    .unknown()
    .refine((list) => Array.isArray(list) && list.length <= MAX_ARTIFACTS)
    .pipe(z.array(artifact))
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
