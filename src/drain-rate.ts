// How fast the queue drains, measured, so that a refused client is told when to come back.
import type { EventBus } from './events.js'

export interface DrainRate {
  /** Whole seconds, 1 to 300, until a tenth of `queued` jobs should have been started. */
  retryAfter(queued: number): number
}

const WINDOW_S = 30
const LONGEST_S = 300
/** Before anything was measured. */
const UNKNOWN_S = 5

/** Counts claims by the second over the last half minute. */
export function createDrainRate(bus: EventBus, now: () => number): DrainRate {
  const started = new Map<number, number>()
  const second = () => Math.floor(now() / 1_000)

  bus.subscribe((event) => {
    const claims = event.kind === 'elsewhere' ? event.claims : event.kind === 'job' && event.verb === 'claim' ? 1 : 0
    if (claims === 0) return
    started.set(second(), (started.get(second()) ?? 0) + claims)
    for (const old of started.keys()) if (old <= second() - WINDOW_S) started.delete(old)
  })

  return {
    retryAfter(queued) {
      const recent = [...started].filter(([at]) => at > second() - WINDOW_S)
      const jobs = recent.reduce((sum, [, n]) => sum + n, 0)
      if (jobs === 0) return UNKNOWN_S
      const span = second() - Math.min(...recent.map(([at]) => at)) + 1
      return Math.min(LONGEST_S, Math.max(1, Math.ceil((queued / 10) * (span / jobs))))
    },
  }
}
