// The claim loop: claims no more jobs than there are free slots, and sees each run through to its stored outcome.
import type { EventBus } from './events.js'
import type { Job, JobWithPayload } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import type { Pool } from './pool/pool.js'
import type { JobTracker } from './tracker.js'
import { every } from './upkeep/every.js'

export interface DispatcherOptions {
  tracker: JobTracker
  pool: Pool
  types: JobTypes
  bus: EventBus
  max_workers: number
  /** Milliseconds after which the store is asked even though nothing was heard. */
  poll: number
}

export interface Dispatcher {
  start(): void
  /** Looks for work now; called when a job may have become pending or a slot free. */
  wake(): void
  /** Moves the number of slots at once. Fewer never kill a job: its slot closes when it ends. */
  resize(max_workers: number): void
  max_workers(): number
  /** Claims nothing more, lets running jobs go on for `grace` milliseconds, then stops them; resolves when all ended. */
  stop(grace: number): Promise<void>
  /** Ends a stop() under way: terminates the threads of all running jobs. */
  hurry(): void
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { tracker, pool, types, bus, poll } = options
  let { max_workers } = options
  let stopping = false
  /** By slot number; a slot is busy until its thread is free or gone. */
  const running = new Map<number, Job>()
  /** Runs, by job, that were asked to be cancelled between their claim and their start. */
  const cancelledEarly = new Map<string, number>()
  /** Runs whose outcomes are not on disk yet. */
  const unsettled = new Set<Promise<void>>()
  const runnable = [...types.values()].filter(({ disabled }) => disabled === null).map(({ name }) => name)
  const loop = every('dispatcher', bus, pass)

  bus.subscribe((event) => {
    if (event.kind === 'cancel_requested' && !pool.stopJob(event.job.id, 'cancelled')) {
      cancelledEarly.set(event.job.id, event.job.run)
    }
    if (event.kind !== 'job') return
    if (event.job.status === 'pending') wake()
    if (event.job.status !== 'processing') cancelledEarly.delete(event.job.id)
  })

  function wake(): void {
    // Without a free slot the end of a run wakes the loop.
    if (running.size < max_workers) loop.within(0)
  }

  async function pass(): Promise<number> {
    const slots = freeSlots()
    if (stopping || slots.length === 0) return poll
    const jobs = await tracker.claim(runnable, slots)
    for (const job of jobs) {
      running.set(job.slot as number, job)
      const settled = see(job).finally(() => unsettled.delete(settled))
      unsettled.add(settled)
    }
    return jobs.length === slots.length ? 0 : poll
  }

  function freeSlots(): number[] {
    const slots: number[] = []
    // After a shrink, jobs may still run in slots above the bound: they count.
    const room = max_workers - running.size
    for (let slot = 1; slots.length < room; slot += 1) if (!running.has(slot)) slots.push(slot)
    return slots
  }

  /** From claim to stored outcome. Never rejects. */
  async function see(job: JobWithPayload): Promise<void> {
    // Only runnable types are claimed.
    const type = types.get(job.type) as JobType
    try {
      const run = pool.run(job, Math.min(job.timeout_ms, type.timeout_ms))
      if (cancelledEarly.get(job.id) === job.run) pool.stopJob(job.id, 'cancelled')
      const outcome = await run
      running.delete(job.slot as number)
      // Woken before the outcome is written, the next claim shares its transaction and its fsync.
      wake()
      await tracker.settle(job, outcome, type.backoff)
    } catch (error) {
      // Only when the service stops while its store refuses: the next start rescues the job.
      bus.publish({ kind: 'store_trouble', doing: `storing the outcome of ${job.id}`, message: String(error) })
    }
  }

  return {
    start: loop.start,
    wake,
    resize(slots) {
      max_workers = slots
      wake()
    },
    max_workers: () => max_workers,
    async stop(grace) {
      stopping = true
      await loop.stop()
      const stopAll = () => {
        for (const { id } of running.values()) pool.stopJob(id, 'shutdown')
      }
      const timer = setTimeout(stopAll, grace)
      await Promise.all(unsettled)
      clearTimeout(timer)
    },
    hurry() {
      for (const { id } of running.values()) pool.stopJob(id, 'shutdown', true)
    },
  }
}
