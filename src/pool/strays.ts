// Errors that belong to no run: the first few of each second are told, of the others only how many there were.
import type { Failure } from '../outcome.js'
import type { RunKey } from './protocol.js'

const TOLD_A_SECOND = 10
const SECOND_MS = 1_000

type Tell = (run: RunKey | null, failure: Failure) => void

export function createStrays(tell: Tell): Tell {
  let count = 0

  function endSecond(): void {
    const dropped = count - TOLD_A_SECOND
    count = 0
    if (dropped <= 0) return
    const message = `${dropped} more errors that belong to no run came within a second, and are not told`
    tell(null, { code: 'handler_error', message, retryable: false })
  }

  return (run, failure) => {
    if (count === 0) setTimeout(endSecond, SECOND_MS).unref()
    count += 1
    if (count <= TOLD_A_SECOND) tell(run, failure)
  }
}
