// Durations of the last quarter of an hour: a ring of one-minute histograms.
import { clear, createHistogram, type Histogram, type PackedHistogram, pack, record } from './histogram.js'

export interface SlidingDurations {
  /** `ms` is a whole number, 0 or more. */
  record(ms: number): void
  /** Over the minute that goes on and the fourteen before it. */
  read(): PackedHistogram
  /** Nothing was recorded in that time. */
  empty(): boolean
}

const MINUTES = 15

interface Minute {
  at: number
  histogram: Histogram
}

/** `clock` is milliseconds that never go back. A minute takes memory once something fell into it: 2.4 KB. */
export function createSlidingDurations(clock: () => number): SlidingDurations {
  const ring: Minute[] = []
  let latest = Number.NEGATIVE_INFINITY
  const minute = () => Math.floor(clock() / 60_000)

  /** In the place of the minute that goes on, one of a quarter of an hour ago or more may still lie. */
  function placeOf(at: number): Minute {
    const place = ring[at % MINUTES] ?? { at, histogram: createHistogram() }
    ring[at % MINUTES] = place
    if (place.at !== at) clear(place.histogram)
    place.at = at
    return place
  }

  return {
    record(ms) {
      latest = minute()
      record(placeOf(latest).histogram, ms)
    },
    read() {
      const oldest = minute() - MINUTES + 1
      return pack(ring.filter(({ at }) => at >= oldest).map(({ histogram }) => histogram))
    },
    empty: () => latest <= minute() - MINUTES,
  }
}
