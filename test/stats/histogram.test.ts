// Percentiles from a histogram of fixed size, held against those of the sorted durations.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { clear, createHistogram, record, summarise } from '../../src/stats/histogram.js'

const ERROR = 1 / 32
const YEAR_MS = 365 * 86_400_000

function histogramOf(durations: readonly number[]) {
  const histogram = createHistogram()
  for (const ms of durations) record(histogram, ms)
  return histogram
}

/** By the nearest rank: the shortest one that so many percent did not exceed. */
function exact(durations: readonly number[], percent: number): number {
  const sorted = durations.toSorted((a, b) => a - b)
  return sorted[Math.ceil((percent * sorted.length) / 100) - 1] as number
}

const duration = fc.oneof(
  fc.nat({ max: 64 }),
  fc.nat({ max: 100_000 }),
  fc.integer({ min: 0, max: 10 * YEAR_MS }),
  fc.integer({ min: 0, max: 38 }).chain((n) => fc.constantFrom(2 ** n - 1, 2 ** n, 2 ** n + 1)),
)

test('nothing measured is null, not 0', () => {
  const nothing = { count: 0, p50: null, p95: null, p99: null, max: null }
  expect(summarise([])).toEqual(nothing)
  expect(summarise([createHistogram()])).toEqual(nothing)
  const cleared = histogramOf([5])
  clear(cleared)
  expect(summarise([cleared])).toEqual(nothing)
})

test('percentiles are within the stated error of the real ones, count and max are exact', () => {
  fc.assert(
    fc.property(fc.array(fc.array(duration, { maxLength: 200 }), { minLength: 1, maxLength: 5 }), (parts) => {
      const all = parts.flat()
      fc.pre(all.length > 0)
      const summary = summarise(parts.map(histogramOf))
      expect([summary.count, summary.max]).toEqual([all.length, Math.max(...all)])
      for (const percent of [50, 95, 99] as const) {
        const real = exact(all, percent)
        const told = summary[`p${percent}`] as number
        expect(Math.abs(told - real), `p${percent}: ${told} for ${real}`).toBeLessThanOrEqual(real * ERROR)
      }
    }),
    { numRuns: 500 },
  )
})

test('durations below 32 ms are exact', () => {
  for (let ms = 0; ms < 32; ms += 1) {
    expect(summarise([histogramOf([ms, ms, 1_000])])).toMatchObject({ p50: ms, max: 1_000 })
  }
})

test('a hundred durations give the fiftieth, the ninety-fifth and the ninety-ninth', () => {
  const summary = summarise([
    histogramOf(Array.from({ length: 100 }, (_, i) => (i < 50 ? 1 : i < 95 ? 2 : i < 99 ? 3 : 4))),
  ])
  expect(summary).toEqual({ count: 100, p50: 1, p95: 2, p99: 3, max: 4 })
})

test('what took longer than the longest bucket holds is counted with the longest, and is the max', () => {
  const summary = summarise([histogramOf([100 * YEAR_MS])])
  expect(summary).toMatchObject({ count: 1, max: 100 * YEAR_MS })
  expect(summary.p50).toBeGreaterThan(34 * YEAR_MS)
})
