// How a run ended that gave no report of its own.
import type { Failure, Outcome } from '../outcome.js'

export const NOT_BEGUN: Outcome = { kind: 'released', detail: 'no thread could be started for it' }

export const FLOOD: Failure = {
  code: 'handler_error',
  message: 'its handler posted messages in masses, other than by ctx: its thread was ended',
  retryable: true,
}

export function died(error: unknown): Failure {
  const out_of_memory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
  const message = `the thread of this job ended: ${error instanceof Error ? error.message : String(error)}`
  return { code: out_of_memory ? 'out_of_memory' : 'thread_died', message, retryable: true }
}
