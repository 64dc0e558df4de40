// Makes a plain value of whatever a handler threw: error classes and their fields do not survive the thread boundary.
import type { z } from 'zod'
import { cut } from '../cut.js'
import type { Failure } from '../outcome.js'

/** The message's share of what an error may take; the stack, which begins with it, gets the rest. */
const MESSAGE_SHARE = 1 / 4

/**
 * Reads `retryable` and `retry_after_ms` as fields, so that errors of another copy of define-job count as well. Message
 * and stack together take `limit` bytes at the most.
 */
export function failureOf(thrown: unknown, limit: number): Failure {
  try {
    const { code, retryable, retry_after_ms, stack } = fieldsOf(thrown)
    return {
      code: HANDLER_CODES.find((known) => known === code) ?? 'handler_error',
      ...textsOf(messageOf(thrown), stack, limit),
      retryable: retryable !== false,
      retry_after_ms: typeof retry_after_ms === 'number' && retry_after_ms >= 0 ? retry_after_ms : undefined,
    }
  } catch {
    // Getters and proxies may throw in their turn.
    return { code: 'handler_error', message: 'threw a value that cannot be read', retryable: true }
  }
}

/** Of an error, within `limit` bytes together. */
export function textsOf(message: string, stack: unknown, limit: number): Pick<Failure, 'message' | 'stack'> {
  const share = Math.floor(limit * MESSAGE_SHARE)
  return { message: cut(message, share), stack: typeof stack === 'string' ? cut(stack, limit - share) : undefined }
}

/** Codes that an error thrown in a handler may name; any other is its own affair. */
const HANDLER_CODES = ['payload_invalid', 'artifact_failed', 'artifact_too_large'] as const
/** Codes that a thread may name: the others are for the main thread to find. */
export const RUN_CODES = [
  ...HANDLER_CODES,
  'handler_error',
  'type_unavailable',
  'result_not_serialisable',
  'result_too_large',
] as const

function fieldsOf(thrown: unknown): { code?: unknown; retryable?: unknown; retry_after_ms?: unknown; stack?: unknown } {
  return thrown !== null && typeof thrown === 'object' ? thrown : {}
}

function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return String(thrown.message) || thrown.name
  return typeof thrown === 'string' ? thrown : `threw ${JSON.stringify(thrown) ?? typeof thrown}`
}

/** What the schema says may hold texts of the payload, of any length. */
export function payloadFailure(error: z.ZodError, limit: number): Failure {
  const [issue] = error.issues
  const message = `the stored payload does not fit its type: /${issue?.path.join('/')}: ${issue?.message}`
  return { code: 'payload_invalid', ...textsOf(message, undefined, limit), retryable: false }
}
