// How long a failed job waits before its next attempt.

export interface BackoffPolicy {
  /** Milliseconds before the second attempt. */
  base: number
  /** What each further wait is multiplied by, ≥ 1. */
  factor: number
  /** The longest wait in milliseconds. */
  max: number
  /** The share of the wait that is drawn at random, 0 to 1: 0.1 gives ±10 %. */
  jitter: number
}

/**
 * Milliseconds from the end of `attempt` (1 = the first) to the next one.
 * `random` is a number in [0, 1); the jitter never carries the wait above `policy.max`.
 */
export function nextDelay(attempt: number, policy: BackoffPolicy, random: number): number {
  const plain = Math.min(policy.max, policy.base * policy.factor ** (attempt - 1))
  const jittered = plain * (1 + policy.jitter * (2 * random - 1))
  return Math.round(Math.min(policy.max, jittered))
}
