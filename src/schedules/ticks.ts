// Which ticks of a schedule are due, which of them run and why the others do not, and when it is to be looked at again.
import { type Calendar, nextInstant, previousInstants } from './calendar.js'

export interface Timing {
  when: Calendar | Interval
  /** Milliseconds since 1970. No tick comes before, or at this time or later; null: no such end. */
  start_at: number | null
  end_at: number | null
}

interface Interval {
  /** Milliseconds. */
  every: number
  /** `fixed_rate` is a grid; `fixed_delay` counts from the end of the last run. */
  mode: 'fixed_rate' | 'fixed_delay'
}

export interface CatchUp {
  catch_up: 'none' | 'last' | 'all'
  /** Milliseconds: a tick that is later does not run. */
  max_lateness: number
  /** The latest of the ticks that were missed; those before are one record. */
  max_catch_up: number
}

interface Skip {
  tick_at: number
  /** The last tick of a span that is one record; otherwise the same as `tick_at`. */
  until: number
  reason: 'missed' | 'superseded' | 'too_late' | 'too_many'
}

export interface DueTicks {
  /** Oldest first. */
  run: number[]
  skip: Skip[]
  /** The first tick that is not due; null: there is none, or not before a run has ended. */
  next_at: number | null
}

/** The loop that looks for due ticks never sleeps longer: what is no later was not missed. */
const ON_TIME_MS = 60_000

/** The first tick after `after`. `anchor`, where a grid begins, is its `start_at` or when the schedule was first put. */
export function tickAfter({ when, start_at, end_at }: Timing, anchor: number, after: number): number | null {
  const from = start_at === null ? after : Math.max(after, start_at - 1)
  const at = 'every' in when ? onGrid(when.every, anchor, from) : nextInstant(when, from)
  return at === null || (end_at !== null && at >= end_at) ? null : at
}

/** The ticks from `next_at` until `now`, sorted into those that run and those that do not. */
export function dueTicks(timing: Timing & CatchUp, anchor: number, next_at: number, now: number): DueTicks {
  const { catch_up, max_lateness, max_catch_up } = timing
  const second = isDelay(timing) ? null : tickAfter(timing, anchor, next_at)
  // As it usually is: nothing was missed, and looking back would cost as much once more.
  const isAlone = second === null || second > now
  const after = isAlone ? second : tickAfter(timing, anchor, now)
  const latest = isAlone ? [next_at] : lastTicks(timing, anchor, next_at, now, max_catch_up)
  const due: DueTicks = { run: [], skip: [], next_at: after }
  const [first = next_at] = latest
  if (first > next_at) due.skip.push({ tick_at: next_at, until: tickBefore(timing, anchor, first), reason: 'too_many' })
  latest.forEach((tick_at, i) => {
    const late = now - tick_at
    const skip = (reason: Skip['reason']) => due.skip.push({ tick_at, until: tick_at, reason })
    if (catch_up !== 'all' && i < latest.length - 1) skip(catch_up === 'none' ? 'missed' : 'superseded')
    else if (catch_up === 'none' && late > ON_TIME_MS) skip('missed')
    else if (late > max_lateness) skip('too_late')
    else due.run.push(tick_at)
  })
  return due
}

/** The last tick until `now`, of those from `first` on. */
export function lastTick(timing: Timing, anchor: number, first: number, now: number): number {
  return isDelay(timing) ? first : (lastTicks(timing, anchor, first, now, 1)[0] ?? first)
}

export const isDelay = ({ when }: Timing): boolean => 'every' in when && when.mode === 'fixed_delay'

/** Up to `n` ticks, the last ones from `first` until `now`, oldest first. */
function lastTicks({ when, end_at }: Timing, anchor: number, first: number, now: number, n: number): number[] {
  const before = Math.min(now + 1, end_at ?? Number.POSITIVE_INFINITY)
  if (!('every' in when)) return previousInstants(when, first, before, n)
  const last = onGrid(when.every, anchor, before - 1 - when.every)
  const count = Math.min(n, 1 + Math.floor((last - first) / when.every))
  return Array.from({ length: count }, (_, i) => last - (count - 1 - i) * when.every)
}

function tickBefore({ when }: Timing, anchor: number, at: number): number {
  if ('every' in when) return onGrid(when.every, anchor, at - 1 - when.every)
  return previousInstants(when, Number.NEGATIVE_INFINITY, at, 1)[0] ?? at
}

/** The first point of the grid after `after`. */
function onGrid(every: number, anchor: number, after: number): number {
  return anchor + Math.max(0, Math.floor((after - anchor) / every) + 1) * every
}
