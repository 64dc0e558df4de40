// How long things took, as a histogram of fixed size: each power of two is cut into sixteen equal parts.

export interface Histogram {
  readonly counts: Uint32Array
  /** -1 while it is empty. */
  max: number
}

/** As it is sent: places and what was counted there. */
export interface PackedHistogram {
  counts: [place: number, n: number][]
  max: number
}

/** In milliseconds; null where nothing was measured. */
export interface Durations {
  count: number
  p50: number | null
  p95: number | null
  p99: number | null
  max: number | null
}

const PARTS = 16
/** 35 years: what took longer is counted with the longest. */
const LONGEST_MS = 2 ** 40 - 1
const SIZE = indexOf(LONGEST_MS) + 1

export function createHistogram(): Histogram {
  return { counts: new Uint32Array(SIZE), max: -1 }
}

/** `ms` is a whole number, 0 or more. */
export function record(histogram: Histogram, ms: number): void {
  const index = indexOf(Math.min(ms, LONGEST_MS))
  histogram.counts[index] = (histogram.counts[index] ?? 0) + 1
  if (ms > histogram.max) histogram.max = ms
}

/** All of them together. */
export function pack(histograms: readonly Histogram[]): PackedHistogram {
  const counts: [number, number][] = []
  sum(histograms).forEach((n, place) => {
    if (n > 0) counts.push([place, n])
  })
  return { counts, max: Math.max(-1, ...histograms.map(({ max }) => max)) }
}

/** Places that there are not are left out: another version may cut time in other parts. */
export function unpack({ counts, max }: PackedHistogram): Histogram {
  const histogram = createHistogram()
  for (const [place, n] of counts) if (place < SIZE) histogram.counts[place] = n
  return { ...histogram, max }
}

export function clear(histogram: Histogram): void {
  histogram.counts.fill(0)
  histogram.max = -1
}

/**
 * Over all of them together. A percentile is the shortest duration that so many percent of all did not exceed; it is
 * exact below 32 ms and off by at most 1/32 (3.2 %) above. `max` is exact.
 */
export function summarise(histograms: readonly Histogram[]): Durations {
  const sums = sum(histograms)
  const count = sums.reduce((sum, n) => sum + n, 0)
  if (count === 0) return { count, p50: null, p95: null, p99: null, max: null }
  const max = Math.max(...histograms.map((histogram) => histogram.max))
  const percentile = (percent: number) => Math.min(max, middleOf(indexAt(sums, Math.ceil((percent * count) / 100))))
  return { count, p50: percentile(50), p95: percentile(95), p99: percentile(99), max }
}

function sum(histograms: readonly Histogram[]): Float64Array {
  const sums = new Float64Array(SIZE)
  for (const { counts } of histograms) for (let i = 0; i < SIZE; i += 1) sums[i] = (sums[i] ?? 0) + (counts[i] ?? 0)
  return sums
}

/** Where the `nth` shortest is. */
function indexAt(counts: Float64Array, nth: number): number {
  let seen = 0
  return counts.findIndex((n) => {
    seen += n
    return seen >= nth
  })
}

/** Parts of [2^n, 2^(n+1)) follow each other without a gap; below 2 × PARTS each whole number has its own. */
function indexOf(ms: number): number {
  if (ms < 2 * PARTS) return ms
  const doublings = Math.floor(Math.log2(ms / PARTS))
  return doublings * PARTS + Math.floor(ms / 2 ** doublings)
}

function middleOf(index: number): number {
  const doublings = Math.max(0, Math.floor(index / PARTS) - 1)
  const width = 2 ** doublings
  return (index - doublings * PARTS) * width + Math.floor((width - 1) / 2)
}
