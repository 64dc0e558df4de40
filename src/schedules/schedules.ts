// Schedules: put, paused, run by hand, and fired when their ticks are due, each tick once.
import { ServiceError } from '../errors.js'
import type { EventBus } from '../events.js'
import { type Rules, timestamp } from '../job.js'
import { newJob } from '../new-job.js'
import type { Bounds, Fire, Fired, NewJob, Schedule, Store, TickRecord } from '../store/store.js'
import type { SubmissionRules } from '../submission.js'
import { type Plan, queues, readJob, readPlan, timingKey, timingOf } from './plan.js'
import { dueTicks, isDelay, lastTick, tickAfter } from './ticks.js'

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
  /** Makes a job now; the next tick stays. Throws `schedule_not_found`, and `schedule_running` where overlap is `skip`. */
  run(name: string): Promise<NewJob>
  /** Up to `count` ticks after `from`, or the next ones; one at most where ticks wait for the end of runs. */
  next(schedule: Schedule, count: number, from: number | null): number[]
  /** Puts the schedules of the configuration in place, and forgets those that are not in it any more. */
  adopt(documents: Readonly<Record<string, unknown>>): Promise<void>
  /** Fires a piece of what is due; answers when to look again, or null. */
  fireDue(): Promise<number | null>
}

/** Schedules that one transaction fires at the most, and jobs after which it takes no further one. */
const PIECE = 100
const MOST_JOBS = 400
/** Times that a change is tried again because the schedule was fired, or changed, meanwhile. */
const MOST_TRIES = 20
/** When one that cannot be read is tried again. */
const UNREADABLE_REST_MS = 60_000
/** What the loop may be late by on a machine that is not overloaded. */
const ON_TIME_MS = 60_000

const planOf = ({ document }: Schedule): Plan => JSON.parse(document)

export function createSchedules(options: SchedulesOptions): Schedules {
  const { store, bus, rules, submissionRules, now, newId } = options
  // What a tick makes was accepted when its schedule was put: a full queue does not refuse it.
  const bounds = { ...options.bounds, max_pending: Number.POSITIVE_INFINITY, max_pending_of: new Map() }

  async function find(name: string): Promise<Schedule> {
    const schedule = await store.schedule(name)
    if (schedule === null) throw new ServiceError('schedule_not_found', `there is no schedule ${name.slice(0, 100)}`)
    return schedule
  }

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

  function fireOf(schedule: Schedule, at: number): Fire {
    const { name, updated_at, anchor, next_at: from } = schedule
    const plan = planOf(schedule)
    const timing = timingOf(plan)
    const over = from === null || (plan.end_at !== null && from >= plan.end_at)
    const due = over ? { run: [], skip: [], next_at: null } : dueTicks(timing, anchor, from, at)
    const refused = due.run.length === 0 ? null : refusal(plan, at)
    const ran = due.run.map((tick_at) => ({
      ...{ tick_at, until: tick_at, asked: false, job_id: null },
      reason: refused ?? (at - tick_at > ON_TIME_MS ? 'caught_up' : 'on_time'),
      job: refused === null ? jobOf(schedule, plan, at) : null,
    }))
    const skipped = due.skip.map((skip) => ({ ...skip, asked: false, job_id: null, job: null }))
    const ticks = [...skipped, ...ran].sort((a, b) => a.tick_at - b.tick_at)
    const next_at = isDelay(timing) && !over ? 'after_run' : due.next_at
    return { name, updated_at, from, next_at, queue: queues(plan), ticks, now: at }
  }

  /** What cannot be read any more, such as a time zone that is gone, keeps no other schedule from firing. */
  function fireOrSkip(schedule: Schedule, at: number): Fire {
    try {
      return fireOf(schedule, at)
    } catch (error) {
      const { name, updated_at, next_at: from } = schedule
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined }
      bus.publish({ kind: 'pass_failed', loop: `schedule ${name}`, message, stack })
      const tick = {
        tick_at: from ?? at,
        until: from ?? at,
        asked: false,
        job_id: null,
        reason: 'unreadable',
        job: null,
      }
      return { name, updated_at, from, next_at: at + UNREADABLE_REST_MS, queue: false, ticks: [tick], now: at }
    }
  }

  /** Its type may be gone, disabled, or have another schema since it was put. */
  function refusal(plan: Plan, at: number): string | null {
    try {
      readJob(plan, submissionRules, at)
      return null
    } catch (error) {
      if (error instanceof ServiceError) return error.code
      throw error
    }
  }

  function jobOf({ name }: Schedule, plan: Plan, at: number): NewJob {
    const { keys: _, ...submission } = readJob(plan, submissionRules, at)
    return newJob({ id: newId(), ...submission, schedule: name }, at, rules)
  }

  function tell(fired: readonly Fired[]): void {
    for (const { name, jobs, ticks } of fired) {
      for (const job of jobs) bus.publish({ kind: 'job', verb: 'submit', job })
      if (ticks.length > 0) bus.publish({ kind: 'ticks', name, ran: jobs.length, skipped: ticks.length - jobs.length })
    }
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
      refuseFixed(await find(name))
      if (!(await store.removeSchedule(name, 'http'))) await find(name)
      bus.publish({ kind: 'schedule', verb: 'delete', name })
    },

    async pause(name, paused) {
      await find(name)
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

    async run(name) {
      for (let tries = 0; tries < MOST_TRIES; tries += 1) {
        const schedule = await find(name)
        const [plan, at] = [planOf(schedule), now()]
        const job = jobOf(schedule, plan, at)
        // Another one may have been asked for in this millisecond.
        const tick = { tick_at: at + tries, until: at + tries, asked: true, job_id: null, reason: 'asked', job }
        const { updated_at } = schedule
        const fire = { name, updated_at, from: null, next_at: null, queue: queues(plan), ticks: [tick], now: at }
        const fired = await store.fire([fire], bounds)
        tell(fired)
        const [made] = fired[0]?.jobs ?? []
        if (made !== undefined) return made
        const reason = fired[0]?.ticks[0]?.reason
        if (reason === 'overlap')
          throw new ServiceError('schedule_running', `a run of ${name} is not over, and its overlap is skip`)
        if (reason === 'no_room') throw new ServiceError('queue_full', 'there is no room for more jobs')
      }
      throw new ServiceError('store_busy', `schedule ${name} changes all the time: try again`)
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

    async fireDue() {
      const at = now()
      const { due } = await store.dueSchedules(at, PIECE)
      const fires: Fire[] = []
      let jobs = 0
      for (const schedule of due) {
        if (jobs >= MOST_JOBS) break
        const fire = fireOrSkip(schedule, at)
        fires.push(fire)
        jobs += fire.ticks.length
      }
      if (fires.length > 0) tell(await store.fire(fires, bounds))
      return (await store.dueSchedules(at, 0)).next_at
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
