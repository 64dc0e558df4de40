// What happens on this node, told to the others: hints, sent together every now and then.
import { z } from 'zod'
import type { EventBus, ServiceEvent } from './events.js'
import { isFinal, type Job } from './job.js'

/** What happened since the last one. Fields that another version adds are left alone. */
const hintSchema = z.object({
  /** Ids of jobs that moved. */
  jobs: z.array(z.string()).default([]),
  /** They are not all: more moved than a hint holds. */
  many: z.boolean().default(false),
  /** Some became pending, or what kept them was lifted. */
  pending: z.boolean().default(false),
  /** Some are pending no longer. */
  left: z.boolean().default(false),
  /** So many were claimed. */
  claims: z.number().default(0),
  /** The earliest time at which upkeep has to do with one of them: milliseconds since 1970. */
  due_at: z.number().nullable().default(null),
  /** Runs on other nodes whose cancel was asked for. */
  stops: z.array(z.tuple([z.string(), z.number()])).default([]),
  schedules: z.boolean().default(false),
  /** Something was asked of a node. */
  orders: z.boolean().default(false),
  /** Whatever else may have happened: one could not be sent. */
  more: z.boolean().default(false),
})
export type Hint = z.output<typeof hintSchema>

/** Null where it cannot be read. */
export function readHint(text: string): Hint | null {
  try {
    return hintSchema.parse(JSON.parse(text))
  } catch {
    return null
  }
}

export interface Hints {
  start(): void
  /** Other nodes are to look at once for what is asked of them. */
  call(): void
  /** Somebody has come who heard nothing so far: others are to look at whatever may have happened. */
  welcome(): void
  /** Sends what was not sent yet. */
  stop(): Promise<void>
}

export interface HintsOptions {
  bus: EventBus
  node: string
  /** Whether there is a node that would hear it. */
  heard(): boolean
  send(text: string): Promise<void>
}

/** After one that could not be sent. */
const RETRY_MS = 1_000
/** At most one in this time: notifications of all nodes stand in one queue. */
const PERIOD_MS = 50
/** With ids of 36 characters a hint stays below MOST_HINT_BYTES. */
export const MOST_JOBS = 150
const MOST_STOPS = 30

export function createHints({ bus, node, heard, send }: HintsOptions): Hints {
  let next = emptyHint()
  const moved = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let sent_at = Number.NEGATIVE_INFINITY
  let sending: Promise<void> = Promise.resolve()
  let active = false

  bus.subscribe((event) => {
    if (active && note(event)) soon()
  })

  /** Answers whether others have to do with it. */
  function note(event: ServiceEvent): boolean {
    if (event.kind === 'job') noteJob(event.verb, event.job)
    // An outcome that was sent again had been stored: nobody was told.
    else if (event.kind === 'progress' || event.kind === 'late_outcome') noteId(event.id)
    else if (event.kind === 'cancel_requested') noteCancel(event.job)
    else if (event.kind === 'pauses') next.pending = true
    else if (event.kind === 'schedule' || event.kind === 'ticks') next.schedules = true
    else return false
    return true
  }

  function noteJob(verb: string, job: Job): void {
    noteId(job.id)
    if (job.status === 'pending') next.pending = true
    else if (verb !== 'submit') next.left = true
    if (verb === 'claim') next.claims += 1
    // Its schedule may wait for its end.
    if (isFinal(job.status) && job.schedule !== null) next.schedules = true
    if (job.status === 'processing' || isFinal(job.status)) return
    for (const at of [job.run_at, job.start_by]) if (at !== null) next.due_at = Math.min(at, next.due_at ?? at)
  }

  function noteCancel({ id, run, node: holder }: Job): void {
    noteId(id)
    if (holder === node) return
    if (next.stops.length < MOST_STOPS) next.stops.push([id, run])
    // The beats of their nodes find the others.
    else next.orders = true
  }

  function noteId(id: string): void {
    if (moved.size < MOST_JOBS) moved.add(id)
    else if (!moved.has(id)) next.many = true
  }

  function soon(): void {
    timer ??= setTimeout(flush, Math.max(0, sent_at + PERIOD_MS - performance.now()))
  }

  function flush(): void {
    timer = undefined
    sent_at = performance.now()
    const text = JSON.stringify({ ...next, jobs: [...moved] })
    next = emptyHint()
    moved.clear()
    if (!heard()) return
    sending = sending
      .then(() => send(text))
      .catch(() => {
        // What it told is in the database: the next one says that others have to look.
        next.more = true
        if (active) timer ??= setTimeout(flush, RETRY_MS)
      })
  }

  return {
    start() {
      active = true
    },
    call() {
      next.orders = true
      soon()
    },
    welcome() {
      next.more = true
      soon()
    },
    async stop() {
      active = false
      clearTimeout(timer)
      flush()
      await sending
    },
  }
}

const emptyHint = (): Hint => hintSchema.parse({})
