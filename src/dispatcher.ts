// The claim loop: claims no more jobs than there are free slots, and sees each run through to its stored outcome.
import type { EventBus } from './events.js'
import { isFinal, type Job, type JobWithPayload } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import type { Pool } from './pool/pool.js'
import type { RunKey } from './pool/protocol.js'
import { sharesOf } from './slot-shares.js'
import type { JobTracker } from './tracker.js'
import { every } from './upkeep/every.js'

export interface DispatcherOptions {
  tracker: JobTracker
  pool: Pool
  types: JobTypes
  bus: EventBus
  node: string
  /** Whether other nodes may crash under a job that this one would claim next. */
  several?: boolean
  /** Names of the types whose jobs are claimed; null: all. */
  only?: readonly string[] | null
  max_workers: number
  /** Milliseconds since 1970. */
  now(): number
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
  /** While it is drained, nothing more is claimed; what runs goes on. */
  drain(drained: boolean): void
  /** Claims nothing more, lets running jobs go on for `grace` milliseconds, then stops them; resolves when all ended. */
  stop(grace: number): Promise<void>
  /** Ends a stop() under way: terminates the threads of all running jobs. */
  hurry(): void
  /** The jobs that hold a slot now. */
  running(): Job[]
  /** Names of the types that are run here. */
  types(): string[]
  /** Why no job is claimed, whatever it is, or null. */
  holdup(): Holdup | null
}

export interface Holdup {
  kind: 'draining' | 'suspect_alone' | 'threads'
  detail: string
}

/** After a start, suspects (jobs that crashes interrupted more than once) go first, each alone for a while. */
const WARY_MS = 60_000
const ALONE_MS = 5_000

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { tracker, pool, types, only, bus, node, several = false, poll, now } = options
  let { max_workers } = options
  let stopping = false
  let drained = false
  /** How runs are to end, also those that are claimed or started later. */
  let ending: 'asked' | 'at_once' | null = null
  /** By slot number; a slot is busy until its thread is free or gone. */
  const running = new Map<number, Job>()
  /** Runs, by job, that were asked to be cancelled between their claim and their start. */
  const cancelledEarly = new Map<string, number>()
  /** Runs whose outcomes are not on disk yet. */
  const unsettled = new Set<Promise<void>>()
  const runnable = [...types.values()].filter(
    ({ name, disabled }) => disabled === null && (only?.includes(name) ?? true),
  )
  const loop = every('dispatcher', bus, pass)
  let wary_until = 0
  let alone: { job: Job; until: number } | null = null

  bus.subscribe((event) => {
    // On another node its own beat, or a hint, says so.
    if (event.kind === 'cancel_requested' && event.job.node === node) cancel(event.job)
    if (event.kind === 'stop_wanted') cancel(event)
    if (event.kind === 'threads' && event.failure === null) wake()
    if (event.kind === 'pauses' || (event.kind === 'elsewhere' && event.pending)) wake()
    if (event.kind !== 'job') return
    // The end of a job lets the next one of its concurrency key go first, which a claim beside it did not see.
    if (event.job.status === 'pending' || (event.job.concurrency_key !== null && isFinal(event.job.status))) wake()
    if (event.job.status !== 'processing') cancelledEarly.delete(event.job.id)
  })

  function cancel({ id, run }: RunKey): void {
    if (!pool.stopJob({ id, run }, 'cancelled')) cancelledEarly.set(id, run)
  }

  function wake(): void {
    // Without a free slot the end of a run wakes the loop.
    if (running.size < max_workers) loop.within(0)
  }

  async function pass(): Promise<number> {
    const slots = freeSlots()
    const shares = sharesOf(runnable, runningByType(), max_workers, slots.length)
    if (stopping || drained || shares.length === 0 || pool.failure() !== null) return poll
    if (alone !== null && performance.now() < alone.until) return alone.until - performance.now()
    const wary = several || performance.now() < wary_until
    const { claimed, suspect, next_at } = await tracker.claim(shares, slots, wary)
    for (const job of claimed) {
      if (suspect) alone = { job, until: performance.now() + ALONE_MS }
      running.set(job.slot as number, job)
      const settled = see(job).finally(() => unsettled.delete(settled))
      unsettled.add(settled)
    }
    if (claimed.length === slots.length || suspect) return 0
    return next_at === null ? poll : Math.max(1, Math.min(poll, next_at - now()))
  }

  function freeSlots(): number[] {
    const slots: number[] = []
    // After a shrink, jobs may still run in slots above the bound: they count.
    const room = max_workers - running.size
    for (let slot = 1; slots.length < room; slot += 1) if (!running.has(slot)) slots.push(slot)
    return slots
  }

  function runningByType(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { type } of running.values()) counts.set(type, (counts.get(type) ?? 0) + 1)
    return counts
  }

  /** From claim to stored outcome. Never rejects. */
  async function see(job: JobWithPayload): Promise<void> {
    // Only runnable types are claimed.
    const type = types.get(job.type) as JobType
    try {
      const run = pool.run(job, Math.min(job.timeout_ms, type.timeout_ms))
      if (cancelledEarly.get(job.id) === job.run) pool.stopJob(job, 'cancelled')
      if (ending !== null) pool.stopJob(job, 'shutdown', ending === 'at_once')
      // It holds its slot until its artifacts are kept: threads make no more than what is taken.
      const outcome = await tracker.keep(job, await run)
      running.delete(job.slot as number)
      if (alone?.job === job) alone = null
      // Woken before the outcome is written, the next claim shares its transaction and its fsync, or goes beside it.
      wake()
      await tracker.settle(job, outcome, type.backoff)
    } catch (error) {
      // The service stops while its store refuses, or the store takes nothing for this job: the next start rescues it.
      bus.publish({ kind: 'store_trouble', doing: `storing the outcome of ${job.id}`, message: String(error) })
    }
  }

  function endRuns(how: 'asked' | 'at_once'): void {
    if (ending !== 'at_once') ending = how
    for (const job of running.values()) pool.stopJob(job, 'shutdown', how === 'at_once')
  }

  return {
    start() {
      wary_until = performance.now() + WARY_MS
      loop.start()
    },
    wake,
    resize(slots) {
      max_workers = slots
      wake()
    },
    max_workers: () => max_workers,
    drain(now_drained) {
      drained = now_drained
      wake()
    },
    async stop(grace) {
      stopping = true
      await loop.stop()
      const timer = setTimeout(endRuns, grace, 'asked')
      await Promise.all(unsettled)
      clearTimeout(timer)
    },
    hurry: () => endRuns('at_once'),
    running: () => [...running.values()],
    types: () => runnable.map(({ name }) => name),
    holdup() {
      if (stopping) return { kind: 'draining', detail: 'the server is shutting down' }
      if (drained)
        return { kind: 'draining', detail: 'this node is drained: it takes no more jobs until it is resumed' }
      if (alone !== null && performance.now() < alone.until) {
        const detail = `job ${alone.job.id}, under which the server went down before, runs alone for a moment`
        return { kind: 'suspect_alone', detail }
      }
      const failure = pool.failure()
      return failure === null ? null : { kind: 'threads', detail: failure }
    },
  }
}
