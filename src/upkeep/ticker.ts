// Makes jobs pending when they become due, fails those that come too late, and rescues those whose node is gone.
import type { EventBus } from '../events.js'
import { isFinal } from '../job.js'
import type { JobTracker } from '../tracker.js'
import { every, type Loop } from './every.js'

/** Upkeep runs when the next job is due, and at every signal that one became due sooner. */
export function createTicker({ tracker, bus, now }: { tracker: JobTracker; bus: EventBus; now: () => number }): Loop {
  const loop = every('ticker', bus, async () => {
    const { next_due } = await tracker.tick()
    return next_due === null ? Number.POSITIVE_INFINITY : next_due - now()
  })
  bus.subscribe((event) => {
    if (event.kind === 'elsewhere' && event.due_at !== null) loop.within(event.due_at - now())
    if (event.kind !== 'job' || event.job.status === 'processing' || isFinal(event.job.status)) return
    // One that ends may have more dependents than one write tells.
    if (event.verb === 'unblock') loop.within(0)
    const { run_at, start_by } = event.job
    for (const at of [run_at, start_by]) if (at !== null) loop.within(at - now())
  })
  return loop
}
