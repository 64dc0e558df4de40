// What becomes of ticks that are due, or asked for: each has one record, and one job where it runs.
import { withText } from '../digests/digests.js'
import { type DigestContent, digestOf } from '../digests/events.js'
import { countOf } from '../digests/mail.js'
import { ServiceError } from '../errors.js'
import { newJob } from '../new-job.js'
import type { Fire, Fired, NewJob, Schedule } from '../store/store.js'
import { findSchedule } from './find.js'
import { type Plan, planOf, queues, readJob, timingOf } from './plan.js'
import type { SchedulesOptions } from './schedules.js'
import { dueTicks, isDelay } from './ticks.js'

export interface Firing {
  /**
   * Makes a job now; the next tick stays. Throws `schedule_not_found`, `schedule_running` where overlap is `skip`, and
   * `digest_empty`.
   */
  run(name: string): Promise<NewJob>
  /** Fires a piece of what is due; answers when to look again, or null. */
  fireDue(): Promise<number | null>
}

/** Schedules that one transaction fires at the most, and jobs after which it takes no further one. */
const PIECE = 100
const MOST_JOBS = 400
/** Times that it is tried again because the schedule was fired, or changed, meanwhile. */
const MOST_TRIES = 20
/** When one that cannot be read is tried again. */
const UNREADABLE_REST_MS = 60_000
/** When what was left to other nodes is looked at again. */
const LEFT_REST_MS = 1_000
/** What the loop may be late by on a machine that is not overloaded. */
const ON_TIME_MS = 60_000

/** What a tick comes to: its job, or why there is none. */
type Made = Pick<Fire['ticks'][number], 'reason' | 'job' | 'takes'>

export interface FiringOptions extends SchedulesOptions {
  /** Whether another node has this type. Left out: there is none. */
  othersHave?(type: string): Promise<boolean>
}

export function createFiring(options: FiringOptions): Firing {
  const { store, bus, rules, submissionRules, now, newId } = options
  // What a tick makes was accepted when its schedule was put: a full queue does not refuse it.
  const bounds = { ...options.bounds, max_pending: Number.POSITIVE_INFINITY, max_pending_of: new Map() }

  /** What the mail of a digest is to tell; null: the schedule sends none. */
  async function contentOf({ name, source }: Schedule): Promise<DigestContent | null> {
    const digest = source === 'config' ? digestOf(name) : null
    return digest === null ? null : store.digest(digest)
  }

  function fireOf(schedule: Schedule, content: DigestContent | null, at: number): Fire {
    const { name, updated_at, anchor, next_at: from } = schedule
    const plan = planOf(schedule)
    const timing = timingOf(plan)
    const over = from === null || (plan.end_at !== null && from >= plan.end_at)
    const due = over ? { run: [], skip: [], next_at: null } : dueTicks(timing, anchor, from, at)
    const ran = due.run.map((tick_at, i) => ({
      ...{ tick_at, until: tick_at, asked: false, job_id: null },
      // All that waits goes into one mail.
      ...(content !== null && i < due.run.length - 1
        ? { reason: 'superseded', job: null }
        : made(schedule, plan, content, at, at - tick_at > ON_TIME_MS ? 'caught_up' : 'on_time')),
    }))
    const skipped = due.skip.map((skip) => ({ ...skip, asked: false, job_id: null, job: null }))
    const ticks = [...skipped, ...ran].sort((a, b) => a.tick_at - b.tick_at)
    const next_at = isDelay(timing) && !over ? 'after_run' : due.next_at
    return { name, updated_at, from, next_at, queue: queues(plan), ticks, now: at }
  }

  /** Its type may be gone, disabled, or have another schema since it was put. */
  function made(schedule: Schedule, plan: Plan, content: DigestContent | null, at: number, reason: string): Made {
    if (content !== null && countOf(content) === 0) return { reason: 'no_events', job: null }
    try {
      return { reason, job: jobOf(schedule, plan, content, at), takes: content?.cut ?? null }
    } catch (error) {
      if (error instanceof ServiceError) return { reason: error.code, job: null }
      throw error
    }
  }

  function jobOf({ name }: Schedule, plan: Plan, content: DigestContent | null, at: number): NewJob {
    const told = content === null ? plan : { ...plan, job: withText(plan.job, content) }
    const { keys: _, ...submission } = readJob(told, submissionRules, at)
    return newJob({ id: newId(), ...submission, schedule: name }, at, rules)
  }

  /** What cannot be read any more, such as a time zone that is gone, keeps no other schedule from firing. */
  async function fireOrSkip(schedule: Schedule, at: number): Promise<Fire> {
    const content = await contentOf(schedule)
    try {
      return fireOf(schedule, content, at)
    } catch (error) {
      const { name, updated_at, next_at: from } = schedule
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined }
      bus.publish({ kind: 'pass_failed', loop: `schedule ${name}`, message, stack })
      const times = { tick_at: from ?? at, until: from ?? at }
      const tick = { ...times, asked: false, job_id: null, reason: 'unreadable', job: null }
      return { name, updated_at, from, next_at: at + UNREADABLE_REST_MS, queue: false, ticks: [tick], now: at }
    }
  }

  /** This node cannot make its job, as the type is gone or disabled here, and another one can. */
  async function isForOthers(schedule: Schedule): Promise<boolean> {
    const type = typeOf(schedule)
    if (type === null || submissionRules.types.get(type)?.disabled === null) return false
    return (await options.othersHave?.(type)) ?? false
  }

  function tell(fired: readonly Fired[]): void {
    for (const { name, jobs, ticks } of fired) {
      for (const job of jobs) bus.publish({ kind: 'job', verb: 'submit', job })
      if (ticks.length > 0) bus.publish({ kind: 'ticks', name, ran: jobs.length, skipped: ticks.length - jobs.length })
    }
  }

  return {
    async run(name) {
      for (let tries = 0; tries < MOST_TRIES; tries += 1) {
        const schedule = await findSchedule(store, name)
        const content = await contentOf(schedule)
        if (content !== null && countOf(content) === 0)
          throw new ServiceError('digest_empty', 'there are no events since its last mail')
        const [plan, at] = [planOf(schedule), now()]
        const job = jobOf(schedule, plan, content, at)
        // Another one may have been asked for in this millisecond.
        const times = { tick_at: at + tries, until: at + tries }
        const tick = { ...times, asked: true, job_id: null, reason: 'asked', job, takes: content?.cut ?? null }
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

    async fireDue() {
      const at = now()
      const { due } = await store.dueSchedules(at, PIECE)
      const fires: Fire[] = []
      let jobs = 0
      let left = false
      for (const schedule of due) {
        if (jobs >= MOST_JOBS) break
        if (await isForOthers(schedule)) {
          left = true
          continue
        }
        const fire = await fireOrSkip(schedule, at)
        fires.push(fire)
        jobs += fire.ticks.length
      }
      if (fires.length > 0) tell(await store.fire(fires, bounds))
      const { next_at } = await store.dueSchedules(at, 0)
      return left && next_at !== null && next_at <= at ? at + LEFT_REST_MS : next_at
    },
  }
}

/** Null where it cannot be read. */
function typeOf(schedule: Schedule): string | null {
  try {
    const { type } = Object(planOf(schedule).job)
    return typeof type === 'string' ? type : null
  } catch {
    return null
  }
}
