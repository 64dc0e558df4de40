// How many jobs ended in each of the last sixty minutes: what a chart shows.
import type { FinalStatus } from '../job.js'

/** Jobs that ended in each minute, oldest first; the last one goes on. Minutes before the start count as empty. */
export interface LastHour extends Record<FinalStatus, number[]> {
  /** Milliseconds since 1970: when the minute that goes on is over. */
  ends_at: number
}

interface Minute extends Record<FinalStatus, number> {
  at: number
}

const MINUTES = 60
const MINUTE_MS = 60_000

/** `now` is milliseconds since 1970, `clock` milliseconds that never go back: minutes are cut by it. */
export function createLastHour(now: () => number, clock: () => number) {
  const ring: Minute[] = []
  const minute = () => Math.floor(clock() / MINUTE_MS)
  const countOf = (at: number, status: FinalStatus) => {
    const place = ring[at % MINUTES]
    return place?.at === at ? place[status] : 0
  }

  return {
    ended(status: FinalStatus): void {
      const at = minute()
      if (ring[at % MINUTES]?.at !== at) ring[at % MINUTES] = { at, completed: 0, failed: 0, cancelled: 0 }
      const place = ring[at % MINUTES] as Minute
      place[status] += 1
    },
    read(): LastHour {
      const last = minute()
      const minutes = Array.from({ length: MINUTES }, (_, i) => last - MINUTES + 1 + i)
      const series = (status: FinalStatus) => minutes.map((at) => countOf(at, status))
      return {
        ends_at: Math.round(now() + MINUTE_MS - (clock() % MINUTE_MS)),
        completed: series('completed'),
        failed: series('failed'),
        cancelled: series('cancelled'),
      }
    },
  }
}
