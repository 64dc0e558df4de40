// How much of something may come: a burst, and from then on so much a second.

export interface Allowance {
  /** Takes one; false where there is none. */
  take(): boolean
}

export function createAllowance(burst: number, a_second: number): Allowance {
  let left = burst
  let seen_at = performance.now()
  return {
    take() {
      const now = performance.now()
      left = Math.min(burst, left + ((now - seen_at) / 1_000) * a_second)
      seen_at = now
      if (left < 1) return false
      left -= 1
      return true
    },
  }
}
