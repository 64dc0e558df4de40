// How long a failed job waits.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nextDelay } from '../src/backoff.js'

const POLICY = { base: 1_000, factor: 2, max: 300_000, jitter: 0.1 }
const plain = { ...POLICY, jitter: 0 }

describe('the delay before the next attempt', () => {
  test('grows by the factor up to the longest one', () => {
    expect([1, 2, 3, 9, 10, 5_000].map((attempt) => nextDelay(attempt, plain, 0.5))).toEqual([
      1_000, 2_000, 4_000, 256_000, 300_000, 300_000,
    ])
  })

  test('stays the same with a factor of 1', () => {
    expect([1, 2, 50].map((attempt) => nextDelay(attempt, { ...plain, factor: 1 }, 0.5))).toEqual([1_000, 1_000, 1_000])
  })

  test('is never above the longest one, not even the first', () => {
    expect(nextDelay(1, { ...plain, base: 9_000, max: 500 }, 0.5)).toBe(500)
  })

  test('varies by the jitter to both sides', () => {
    expect([0, 0.25, 0.5, 0.75].map((random) => nextDelay(2, POLICY, random))).toEqual([1_800, 1_900, 2_000, 2_100])
    expect(nextDelay(2, POLICY, 1 - Number.EPSILON)).toBe(2_200)
    expect(nextDelay(20, POLICY, 1 - Number.EPSILON)).toBe(300_000)
    expect(nextDelay(20, POLICY, 0)).toBe(270_000)
  })

  test('of any policy is a whole number between the jittered bounds', () => {
    const policy = fc.record({
      base: fc.integer({ min: 1, max: 3_600_000 }),
      factor: fc.double({ min: 1, max: 10, noNaN: true }),
      max: fc.integer({ min: 0, max: 86_400_000 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), policy, random, (attempt, policy, random) => {
        const delay = nextDelay(attempt, policy, random)
        expect(Number.isSafeInteger(delay)).toBe(true)
        expect(delay).toBeLessThanOrEqual(policy.max)
        const least = Math.min(policy.max, policy.base) * (1 - policy.jitter)
        expect(delay).toBeGreaterThanOrEqual(Math.floor(least))
      }),
    )
  })
})
