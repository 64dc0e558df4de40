// Schedules: put, changed, paused, forgotten; where their next tick is then.
import { ServiceError } from '../errors.js'
import type { EventBus } from '../events.js'
import { type Rules, timestamp } from '../job.js'
import type { Bounds, Schedule, Store, TickRecord } from '../store/store.js'
import type { SubmissionRules } from '../submission.js'
import { findSchedule } from './find.js'
import { type Plan, planOf, readPlan, timingKey, timingOf } from './plan.js'
import { isDelay, lastTick, tickAfter } from './ticks.js'

export interface SchedulesOptions {
  store: Store
  bus: EventBus
  rules: Rules
  submissionRules: SubmissionRules
  bounds: Bounds
  /** Milliseconds since 1970. */
  now(): number
  newId(): string
}

export interface Schedules {
  /** Throws `invalid_request` and what a submission throws; `schedule_fixed` over HTTP for one of the configuration. */
  put(name: string, body: unknown, source: Schedule['source']): Promise<{ schedule: Schedule; created: boolean }>
  /** Throws `schedule_not_found`, and `schedule_fixed` for one of the configuration. */
  remove(name: string): Promise<void>
  /** Throws `schedule_not_found`. */
  pause(name: string, paused: boolean): Promise<Schedule>
  /** Up to `count` ticks after `from`, or the next ones; one at most where ticks wait for the end of runs. */
  next(schedule: Schedule, count: number, from: number | null): number[]
  /** Puts the schedules of the configuration in place, and forgets those that are not in it any more. */
  adopt(documents: Readonly<Record<string, unknown>>): Promise<void>
}

/** Schedules that are read at once. */
const PIECE = 100
/** Times that a change is tried again because the schedule was fired, or changed, meanwhile. */
const MOST_TRIES = 20

export function createSchedules(options: SchedulesOptions): Schedules {
  const { store, bus, submissionRules, now } = options

  /** Tries again where the schedule was fired meanwhile; `change` answers null where there is nothing to do. */
  async function change(
    name: string,
    change: (before: Schedule | null) => { after: Omit<Schedule, 'totals'>; skipped: TickRecord | null } | null,
  ): Promise<{ schedule: Schedule; before: Schedule | null; changed: boolean }> {
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      const before = await store.schedule(name)
      const wanted = change(before)
      if (wanted === null && before !== null) return { schedule: before, before, changed: false }
      const schedule = wanted === null ? null : await store.putSchedule({ before, ...wanted })
      if (schedule !== null) return { schedule, before, changed: true }
    }
    throw new ServiceError('store_busy', `schedule ${name} changes all the time: try again`)
  }

  function withPlan(name: string, plan: Plan, source: Schedule['source'], before: Schedule | null) {
    const at = now()
    const timing = timingOf(plan)
    const same = before !== null && timingKey(planOf(before)) === timingKey(plan)
    const anchor = plan.start_at ?? (same ? before.anchor : at)
    const paused = plan.paused ?? (before !== null && before.paused_at !== null)
    const document = JSON.stringify({ ...plan, paused: undefined })
    if (same && before.document === document && before.source === source && paused === (before.paused_at !== null))
      return null
    const over = before === null || (paused && same) ? null : whilePaused(before, at)
    const after = {
      name,
      source,
      document,
      anchor,
      created_at: before?.created_at ?? at,
      updated_at: versionAfter(before, at),
      paused_at: paused ? (before?.paused_at ?? at) : null,
      next_at: same ? (over?.next_at ?? before.next_at) : tickAfter(timing, anchor, at),
      delay: isDelay(timing) ? (plan.every ?? null) : null,
    }
    return { after, skipped: over?.skipped ?? null }
  }

  /** What a pause that ends now has kept from running, as one record, and the tick after it. Null: nothing. */
  function whilePaused({ document, anchor, paused_at, next_at }: Schedule, at: number) {
    if (paused_at === null || next_at === null || next_at > at) return null
    const plan: Plan = JSON.parse(document)
    const timing = timingOf(plan)
    const until = lastTick(timing, anchor, next_at, at)
    const skipped = { tick_at: next_at, until, asked: false, job_id: null, reason: 'paused' }
    return { skipped, next_at: isDelay(timing) ? at + (plan.every ?? 0) : tickAfter(timing, anchor, at) }
  }

  async function put(name: string, body: unknown, source: Schedule['source']) {
    const plan = readPlan(body, submissionRules, now(), source === 'config')
    const { schedule, before, changed } = await change(name, (before) => {
      if (source === 'http' && before !== null) refuseFixed(before)
      return withPlan(name, plan, source, before)
    })
    if (changed) bus.publish({ kind: 'schedule', verb: 'put', name })
    return { schedule, created: before === null }
  }

  return {
    put,

    async remove(name) {
      refuseFixed(await findSchedule(store, name))
      if (!(await store.removeSchedule(name, 'http'))) await findSchedule(store, name)
      bus.publish({ kind: 'schedule', verb: 'delete', name })
    },

    async pause(name, paused) {
      await findSchedule(store, name)
      const { schedule, changed } = await change(name, (before) => {
        if (before === null) throw new ServiceError('schedule_not_found', `there is no schedule ${name}`)
        const { totals: _, ...rest } = before
        if (paused === (before.paused_at !== null)) return null
        const at = now()
        const over = paused ? null : whilePaused(before, at)
        const next_at = over === null ? before.next_at : over.next_at
        return {
          after: { ...rest, next_at, paused_at: paused ? at : null, updated_at: versionAfter(before, at) },
          skipped: over?.skipped ?? null,
        }
      })
      if (changed) bus.publish({ kind: 'schedule', verb: paused ? 'pause' : 'resume', name })
      return schedule
    },

    next(schedule, count, from) {
      const timing = timingOf(planOf(schedule))
      const found: number[] = []
      const first = from === null ? schedule.next_at : tickAfter(timing, schedule.anchor, from)
      for (let at = first; at !== null && found.length < count; at = tickAfter(timing, schedule.anchor, at)) {
        found.push(at)
        if (isDelay(timing)) break
      }
      return found
    },

    async adopt(documents) {
      for (const [name, body] of Object.entries(documents)) await put(name, body, 'config')
      for (let after = '', more = true; more; ) {
        const piece = await store.schedules(after, PIECE)
        for (const { name, source } of piece) {
          if (source === 'config' && !Object.hasOwn(documents, name)) await store.removeSchedule(name, 'config')
        }
        after = piece.at(-1)?.name ?? ''
        more = piece.length === PIECE
      }
    },
  }
}

/** Who changes it names the version that was read: no two are the same. */
const versionAfter = (before: Schedule | null, now: number) => Math.max(now, (before?.updated_at ?? 0) + 1)

/** @throws ServiceError schedule_fixed */
function refuseFixed({ name, source, created_at }: Schedule): void {
  if (source === 'http') return
  const since = timestamp(created_at)
  throw new ServiceError(
    'schedule_fixed',
    `schedule ${name} stands in the configuration since ${since}: change it there`,
  )
}
