// A schedule, and its ticks, as the API shows them: its document with all that was left out, and where it stands.
import { timestamp } from '../job.js'
import { formatDuration } from '../span.js'
import type { Schedule, TickRecord } from '../store/store.js'
import type { SystemSchedule } from '../upkeep/system-schedules.js'
import { type Plan, queues } from './plan.js'

export function scheduleView({ name, source, document, created_at, updated_at, paused_at, next_at, totals }: Schedule) {
  const plan: Plan = JSON.parse(document)
  const { every, mode = 'fixed_rate', cron, fields, time_zone, start_at, end_at } = plan
  const when = every === undefined ? { cron, fields, time_zone } : { every: formatDuration(every), mode }
  return {
    name,
    source,
    ...when,
    start_at: moment(start_at),
    end_at: moment(end_at),
    overlap: queues(plan) ? 'queue' : 'skip',
    catch_up: plan.catch_up,
    max_lateness: formatDuration(plan.max_lateness),
    max_catch_up: plan.max_catch_up,
    paused: paused_at !== null,
    paused_at: moment(paused_at),
    job: plan.job,
    next_at: paused_at === null ? moment(next_at) : null,
    created_at: timestamp(created_at),
    updated_at: timestamp(updated_at),
    totals: totals === null ? null : { ...totals, last_ended_at: timestamp(totals.last_ended_at) },
  }
}

/** Why a tick ran, or did not, in a sentence. */
const REASONS: Record<string, string> = {
  on_time: 'it was due',
  caught_up: 'it was due while nobody looked, and was caught up',
  asked: 'somebody asked for it',
  missed: 'it was due while nobody looked, and catch_up is none',
  superseded: 'a later one was due as well, and catch_up is last',
  too_late: 'it was later than max_lateness',
  too_many: 'more were missed than max_catch_up',
  overlap: 'a run of the schedule was not over',
  no_events: 'there was nothing to tell',
  paused: 'the schedule was paused',
  unreadable: 'its times cannot be told any more: put it again',
  no_room: 'there was no room for more jobs (data.max_stored, data.max_bytes)',
  disabled_type: 'the job type was disabled',
  unknown_type: 'there was no such job type',
  invalid_job: 'its job did not fit its type any more',
}

export function tickView({ tick_at, until, job_id, reason }: TickRecord) {
  return {
    tick_at: timestamp(tick_at),
    until: until === tick_at ? null : timestamp(until),
    outcome: job_id === null ? 'skipped' : 'ran',
    job_id,
    reason,
    detail: REASONS[reason] ?? reason,
  }
}

/** jobmill's own upkeep, with the fields of a schedule that it has. */
export function systemView({ name, description, next_at, passes, failed, sums, last_ended_at }: SystemSchedule) {
  const totals = { completed: passes - failed, failed, sums, last_ended_at: moment(last_ended_at) }
  return { name, source: 'system', description, paused: false, next_at: moment(next_at), totals }
}

export function systemHistoryView({ history }: SystemSchedule, limit: number) {
  return history.slice(0, limit).map(({ at, asked, detail }) => {
    const reason = asked ? 'asked' : 'on_time'
    return { tick_at: timestamp(at), until: null, outcome: 'ran', job_id: null, reason, detail }
  })
}

const moment = (ms: number | null) => (ms === null ? null : timestamp(ms))
