// Fires the ticks of schedules when they are due.
import type { EventBus } from '../events.js'
import { isFinal } from '../job.js'
import type { Firing } from '../schedules/firing.js'
import { every, type Loop } from './every.js'

/** Looks when the next tick is due, and whenever a schedule has changed or a run of one has ended. */
export function createScheduler(firing: Firing, bus: EventBus, now: () => number): Loop {
  const loop = every('scheduler', bus, async () => {
    const next_at = await firing.fireDue()
    return next_at === null ? Number.POSITIVE_INFINITY : next_at - now()
  })
  bus.subscribe((event) => {
    if (event.kind === 'schedule' || (event.kind === 'elsewhere' && event.schedules)) loop.within(0)
    // Its schedule may have waited for the end.
    if (event.kind === 'job' && event.job.schedule !== null && isFinal(event.job.status)) loop.within(0)
  })
  return loop
}
