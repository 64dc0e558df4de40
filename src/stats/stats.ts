// What this node did lately and does now, kept from the events of its jobs; nothing of it is stored.
import type { EventBus } from '../events.js'
import { dueAt, type EventVerb, isFinal, type Job, type Rules } from '../job.js'
import type { PackedHistogram } from './histogram.js'
import { createLastHour, type LastHour } from './last-hour.js'
import { createLoad, type Throughput, type Windows } from './load.js'
import { createSlidingDurations } from './sliding.js'

export interface StatsOptions {
  bus: EventBus
  rules: Rules
  /** The slots that there are now. A new bound counts from the next event or question on. */
  max_workers(): number
  /** Milliseconds since 1970. */
  now(): number
  /** Milliseconds that never go back and that no change of the time of day moves. */
  clock(): number
  /** Told what is measured, as it is. */
  onMeasure?(type: string, what: 'wait' | 'run', ms: number): void
}

export interface RunningJob {
  id: string
  type: string
  attempt: number
  /** Milliseconds since 1970. */
  started_at: number
  progress: number
  progress_note: string | null
}

interface Measured {
  wait: PackedHistogram
  run: PackedHistogram
}

/** Of this node, in a form that other nodes can add to theirs. */
export interface NodeStats {
  /** Milliseconds since 1970: when the measurements began. */
  since: number
  measured: Measured
  /**
   * Up to MEASURED_TYPES types that had runs in the last 15 minutes; those that came later have no measures of their
   * own and are part of the totals only.
   */
  types: Record<string, Measured>
  throughput: Windows<Throughput>
  utilisation: Windows<number>
  last_hour: LastHour
  /** All up to `max_workers`, and those above it in which a job still runs. */
  slots: { slot: number; job: RunningJob | null }[]
}

/** A type takes at most 75 KB: nobody may make the service grow by using many. */
const MEASURED_TYPES = 64

interface Run extends RunningJob {
  slot: number
}

/** Answers the function that reads the statistics. */
export function createStats(options: StatsOptions): () => NodeStats {
  const { bus, rules, max_workers, now, clock, onMeasure = () => {} } = options
  const since = now()
  const all = createMeters(clock)
  const types = new Map<string, Meters>()
  let swept_at = clock()
  const load = createLoad(clock)
  const lastHour = createLastHour(now, clock)
  /** By id and run. */
  const runs = new Map<string, Run>()
  /** By number: which run was claimed for it last. */
  const slots = new Map<number, Run>()
  load.slots(0, max_workers())

  bus.subscribe((event) => {
    if (event.kind === 'job') moved(event.verb, event.job)
    else if (event.kind === 'progress') advanced(event)
    // Whoever took the job away has told of its end; here its slot is free only now.
    else if (event.kind === 'late_outcome') leave(keyOf(event))
  })

  function moved(verb: EventVerb, job: Job): void {
    if (verb === 'submit') return
    if (isFinal(job.status)) {
      load.ended(job.status)
      lastHour.ended(job.status)
    }
    if (verb === 'claim') claimed(job)
    else if (verb !== 'rescue') ended(job)
  }

  function claimed(job: Job): void {
    const { id, type, attempt, slot, started_at, progress, progress_note } = job
    // A claim sets both.
    if (slot === null || started_at === null) return
    const run = { id, type, attempt, slot, started_at, progress, progress_note }
    runs.set(keyOf(job), run)
    // The outcome of the run before may still be on its way to the disk: the slot is no longer its own.
    slots.set(slot, run)
    load.slots(slots.size, max_workers())
    measure(type, 'wait', started_at - dueAt(job, rules))
  }

  function advanced({ id, run, progress, note }: { id: string; run: number; progress: number; note: string | null }) {
    const running = runs.get(keyOf({ id, run }))
    if (running !== undefined) Object.assign(running, { progress, progress_note: note })
  }

  function ended(job: Job): void {
    const run = leave(keyOf(job))
    // `started_at` of the job is gone when it was released.
    if (run !== undefined) measure(run.type, 'run', job.updated_at - run.started_at)
  }

  function leave(key: string): Run | undefined {
    const run = runs.get(key)
    if (run === undefined) return undefined
    runs.delete(key)
    if (slots.get(run.slot) === run) slots.delete(run.slot)
    load.slots(slots.size, max_workers())
    return run
  }

  function measure(type: string, what: keyof Meters, ms: number): void {
    // The time of day may have been set back in between.
    const duration = Math.max(0, ms)
    onMeasure(type, what, duration)
    all[what].record(duration)
    metersOf(type)?.[what].record(duration)
  }

  function metersOf(type: string): Meters | undefined {
    if (!types.has(type) && types.size >= MEASURED_TYPES) forgetIdleTypes()
    if (!types.has(type) && types.size < MEASURED_TYPES) types.set(type, createMeters(clock))
    return types.get(type)
  }

  /** Once a minute is often enough for types by the thousand. */
  function forgetIdleTypes(): void {
    if (clock() - swept_at < 60_000) return
    swept_at = clock()
    for (const [type, { wait, run }] of types) if (wait.empty() && run.empty()) types.delete(type)
  }

  function slotList(): NodeStats['slots'] {
    const bound = max_workers()
    const above = [...slots.keys()].filter((slot) => slot > bound).sort((a, b) => a - b)
    const numbers = [...Array.from({ length: bound }, (_, i) => i + 1), ...above]
    return numbers.map((slot) => ({ slot, job: slots.get(slot) ?? null }))
  }

  return () => {
    load.slots(slots.size, max_workers())
    return {
      since,
      measured: readOf(all),
      types: Object.fromEntries([...types].map(([type, meters]) => [type, readOf(meters)])),
      throughput: load.throughput(),
      utilisation: load.utilisation(),
      last_hour: lastHour.read(),
      slots: slotList(),
    }
  }
}

const keyOf = ({ id, run }: { id: string; run: number }) => `${id} ${run}`

type Meters = ReturnType<typeof createMeters>

function createMeters(clock: () => number) {
  return { wait: createSlidingDurations(clock), run: createSlidingDurations(clock) }
}

function readOf({ wait, run }: Meters): Measured {
  return { wait: wait.read(), run: run.read() }
}
