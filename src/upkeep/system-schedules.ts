// jobmill's own upkeep as schedules: when it was done, what it came to, and done at once where somebody asks.
import { once } from 'node:events'
import type { EventBus, ServiceEvent } from '../events.js'
import type { Loop } from './every.js'

export interface SystemSchedule {
  name: string
  description: string
  /** Milliseconds since 1970: the latest time at which it is done next; null: when there is something to do. */
  next_at: number | null
  /** Since the start of the process. */
  passes: number
  failed: number
  sums: Record<string, number>
  last_ended_at: number | null
  /** Passes that did something, failed, or were asked for, the newest first. */
  history: SystemPass[]
}

interface SystemPass {
  at: number
  asked: boolean
  /** What it did; or why it failed. */
  detail: string
}

export interface SystemSchedules {
  /** By name. */
  list(): SystemSchedule[]
  get(name: string): SystemSchedule | null
  /** Resolves when a pass that began after the call has ended. Null: there is no such upkeep. */
  run(name: string): Promise<SystemSchedule | null>
}

/** A loop, what it is for, and what it counts of what is told. */
interface Upkeep {
  loop: Pick<Loop, 'within'>
  description: string
  count(event: ServiceEvent): Record<string, number> | null
}

/** `ticker` and so on: the names under which the loops tell of their passes. */
type Upkeeps = Record<'ticker' | 'pruner' | 'scheduler' | 'disk-space', Pick<Loop, 'within'>>

export const SYSTEM_PREFIX = 'system.'
const MOST_PASSES_KEPT = 100

export function createSystemSchedules(bus: EventBus, loops: Upkeeps, now: () => number): SystemSchedules {
  const all = Object.entries(upkeepOf(loops)).map(([loop, upkeep]) => watch(bus, loop, upkeep, now))
  all.sort((a, b) => (a.shown.name < b.shown.name ? -1 : 1))
  const find = (name: string) => all.find(({ shown }) => shown.name === name)
  return {
    list: () => all.map(({ shown }) => shown),
    get: (name) => find(name)?.shown ?? null,
    async run(name) {
      const upkeep = find(name)
      await upkeep?.run()
      return upkeep?.shown ?? null
    },
  }
}

function upkeepOf(loops: Upkeeps): Record<keyof Upkeeps, Upkeep> {
  return {
    ticker: {
      loop: loops.ticker,
      description:
        'makes jobs pending when they are due, fails those that came too late, rescues those of a node that died',
      count: (event) =>
        event.kind === 'job' && ['promote', 'expire', 'rescue'].includes(event.verb) ? { [`${event.verb}d`]: 1 } : null,
    },
    pruner: {
      loop: loops.pruner,
      description: 'deletes final jobs that are older or more than retention allows',
      count: (event) => (event.kind === 'pruned' ? { jobs: event.ids.length, bytes: event.bytes } : null),
    },
    scheduler: {
      loop: loops.scheduler,
      description: 'fires the ticks of schedules',
      count: (event) => (event.kind === 'ticks' ? { ran: event.ran, skipped: event.skipped } : null),
    },
    'disk-space': {
      loop: loops['disk-space'],
      description: 'looks at the free space of the disks of database and artifacts, and keeps the ballast',
      count: (event) => (event.kind === 'disk_space' ? { changes: 1 } : null),
    },
  }
}

const NAMES: Record<string, string> = {
  ticker: 'due-jobs',
  pruner: 'retention',
  scheduler: 'ticks',
  'disk-space': 'disk-space',
}

function watch(bus: EventBus, loop: string, { loop: { within }, description, count }: Upkeep, now: () => number) {
  const shown: SystemSchedule = {
    name: `${SYSTEM_PREFIX}${NAMES[loop]}`,
    description,
    next_at: null,
    passes: 0,
    failed: 0,
    sums: {},
    last_ended_at: null,
    history: [],
  }
  const ends = new EventTarget()
  let running = false
  let asked = 0
  let did: Record<string, number> = {}
  let failure: string | null = null

  bus.subscribe((event) => {
    if (event.kind === 'pass_failed' && event.loop === loop) failure = event.message
    if (event.kind === 'loop' && event.loop === loop && event.state === 'running') running = true
    if (event.kind === 'loop' && event.loop === loop && event.state !== 'running') ended(event.wait)
    for (const [name, n] of Object.entries(count(event) ?? {})) did[name] = (did[name] ?? 0) + n
  })

  function ended(wait: number | undefined): void {
    shown.next_at = wait !== undefined && Number.isFinite(wait) ? now() + Math.max(0, wait) : null
    // Also where the loop was stopped: nobody waits for a pass that does not come.
    ends.dispatchEvent(new Event('end'))
    if (!running) return
    running = false
    shown.passes += 1
    if (failure !== null) shown.failed += 1
    shown.last_ended_at = now()
    for (const [name, n] of Object.entries(did)) shown.sums[name] = (shown.sums[name] ?? 0) + n
    const detail =
      failure ??
      Object.entries(did)
        .map(([name, n]) => `${name} ${n}`)
        .join(', ')
    if (detail !== '' || asked > 0) shown.history.unshift({ at: now(), asked: asked > 0, detail })
    shown.history.splice(MOST_PASSES_KEPT)
    did = {}
    failure = null
    asked = 0
  }

  return {
    shown,
    async run(): Promise<void> {
      // One that is under way may have looked already.
      if (running) await once(ends, 'end')
      asked += 1
      const end = once(ends, 'end')
      within(0)
      await end
    },
  }
}
