// Makes a plain value of whatever a handler threw: error classes and their fields do not survive the thread boundary.
import type { z } from 'zod'
import type { Failure } from '../outcome.js'

const MAX_MESSAGE_LENGTH = 2_000
const MAX_STACK_LENGTH = 16_000

/** Reads `retryable` and `retry_after_ms` as fields, so that errors of another copy of define-job count as well. */
export function failureOf(thrown: unknown): Failure {
  try {
    const { code, retryable, retry_after_ms, stack } = fieldsOf(thrown)
    return {
      code: HANDLER_CODES.find((known) => known === code) ?? 'handler_error',
      message: messageOf(thrown).slice(0, MAX_MESSAGE_LENGTH),
      stack: typeof stack === 'string' ? stack.slice(0, MAX_STACK_LENGTH) : undefined,
      retryable: retryable !== false,
      retry_after_ms: typeof retry_after_ms === 'number' && retry_after_ms >= 0 ? retry_after_ms : undefined,
    }
  } catch {
    // Getters and proxies may throw in their turn.
    return { code: 'handler_error', message: 'threw a value that cannot be read', retryable: true }
  }
}

/** Codes that an error thrown in a handler may name; any other is its own affair. */
const HANDLER_CODES = ['payload_invalid', 'artifact_failed', 'artifact_too_large'] as const

function fieldsOf(thrown: unknown): { code?: unknown; retryable?: unknown; retry_after_ms?: unknown; stack?: unknown } {
  return thrown !== null && typeof thrown === 'object' ? thrown : {}
}

function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return String(thrown.message) || thrown.name
  return typeof thrown === 'string' ? thrown : `threw ${JSON.stringify(thrown) ?? typeof thrown}`
}

export function payloadFailure(error: z.ZodError): Failure {
  const [issue] = error.issues
  const message = `the stored payload does not fit its type any more: /${issue?.path.join('/')}: ${issue?.message}`
  return { code: 'payload_invalid', message, retryable: false }
}
