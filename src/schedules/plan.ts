// The document of a schedule: when it has ticks, what becomes of those that are late, and the job that a tick makes.
import { z } from 'zod'
import { duration } from '../duration.js'
import { time } from '../envelope.js'
import { ServiceError } from '../errors.js'
import { type Finding, inspect } from '../explain.js'
import type { JsonText } from '../job.js'
import { whole } from '../setting-kinds.js'
import { formatDuration } from '../span.js'
import { invalid, readSubmission, type SubmissionRules } from '../submission.js'
import type { SubmittedJob } from '../tracker.js'
import { type Calendar, isTimeZone, nextInstant, readCron, readFields } from './calendar.js'
import type { CatchUp, Timing } from './ticks.js'

const DAY = 86_400_000
/** Jobs of one transaction, so that no schedule holds up the event loop by what it missed. */
const MOST_CAUGHT_UP = 500

export const SCHEDULE_NAME = /^[\w.-]{1,64}$/

function fieldList() {
  const error = 'must be a list of values and of ranges [from, to]'
  const value = z.union([z.number(), z.string().max(20)], error)
  return z
    .array(z.union([value, z.tuple([value, value], error)], error), error)
    .max(100)
    .optional()
}

function notAllWhere(field: string, value: string) {
  const others = { properties: { catch_up: { not: { const: 'all' } } } }
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  return { if: { properties: { [field]: { const: value } } }, then: others }
}

/** What conflicts() says, in the words of JSON Schema; pages that show schemas leave these words out. */
const RELATIONS = {
  if: { required: ['every'] },
  else: { if: { required: ['cron'] }, else: { required: ['fields'] } },
  dependentRequired: { mode: ['every'] },
  dependentSchemas: {
    every: { properties: { cron: false, fields: false } },
    cron: { properties: { fields: false } },
    overlap: notAllWhere('overlap', 'skip'),
    mode: notAllWhere('mode', 'fixed_delay'),
  },
}

/** Descriptions are those of the API (`GET /openapi.json`). */
export const document = z
  .strictObject({
    every: duration({ min: 100 }).optional().describe('A span between ticks: seconds, or a text such as "20m".'),
    mode: z
      .enum(['fixed_rate', 'fixed_delay'])
      .optional()
      .describe('Of `every`: from tick to tick [fixed_rate], or from the end of a run to the next tick.'),
    cron: z.string().max(500).optional().describe('Five fields, or six with seconds first.'),
    fields: z
      .strictObject({
        seconds: fieldList(),
        minutes: fieldList(),
        hours: fieldList(),
        days_of_month: fieldList(),
        months: fieldList(),
        days_of_week: fieldList(),
      })
      .optional()
      .describe('Values and ranges [from, to]: any within a field, all fields together.'),
    time_zone: z
      .string()
      .refine(isTimeZone, 'must be a name of the IANA time zone database, such as "Europe/Berlin"')
      .default('UTC')
      .describe('A name of the IANA time zone database, in which `cron` and `fields` are read.'),
    start_at: time().nullable().default(null).describe('No tick before; the grid of `every` begins here.'),
    end_at: time().nullable().default(null).describe('No tick from then on.'),
    overlap: z
      .enum(['skip', 'queue'])
      .optional()
      .describe('A tick while the job before is not final: no run [skip], or one more job in the queue.'),
    catch_up: z
      .enum(['none', 'last', 'all'])
      .default('last')
      .describe('Which ticks run that were due while nobody looked.'),
    max_lateness: duration({ min: 1_000 })
      .default(DAY)
      .meta({ default: formatDuration(DAY), description: 'A tick that is later does not run.' }),
    max_catch_up: whole(1, MOST_CAUGHT_UP).default(100).describe('Of more missed ticks, the last ones run.'),
    paused: z.boolean().optional().describe('Left out: it stays as it is.'),
    job: z.unknown().describe('The job that each tick makes.'),
  })
  .meta(RELATIONS)

/** What may stand in it is checked as a submission. */
export const job = z.strictObject({
  type: z.string(),
  payload: z.unknown().optional(),
  priority: z.unknown().optional(),
  retry_count: z.unknown().optional(),
  timeout: z.unknown().optional(),
  tags: z.unknown().optional(),
})

/** A document that was checked; spans and times are milliseconds. It is stored as JSON. */
export type Plan = z.output<typeof document>

/**
 * `lenient` takes a job whose type is disabled: one broken file must not keep the service from starting.
 *
 * @throws ServiceError invalid_request, and what readSubmission throws for its job, with pointers into `body`
 */
export function readPlan(body: unknown, rules: SubmissionRules, now: number, lenient = false): Plan {
  if (body === undefined) throw new ServiceError('malformed_request', 'the body is empty, send a schedule as JSON')
  const checked = inspect(document, body)
  if (!checked.ok) throw invalid('invalid_request', checked.findings)
  const plan = checked.data
  const findings = [...conflicts(plan), ...misreadings(plan)]
  if (findings.length > 0) throw invalid('invalid_request', findings)
  const never = neverFires(plan)
  if (never !== null) throw invalid('invalid_request', [never])
  try {
    readJob(plan, rules, now)
  } catch (error) {
    if (!lenient || !(error instanceof ServiceError) || error.code !== 'disabled_type') throw error
  }
  return plan
}

/** @throws ServiceError as readSubmission does, with pointers that begin with /job */
export function readJob(plan: Plan, rules: SubmissionRules, now: number): SubmittedJob {
  const checked = inspect(job, plan.job)
  if (!checked.ok)
    throw invalid(
      'invalid_request',
      checked.findings.map(({ path, message }) => ({ path: ['job', ...path], message })),
    )
  try {
    return readSubmission(checked.data, rules, now)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    const errors = error.errors?.map(({ pointer, detail }) => ({ pointer: `/job${pointer}`, detail }))
    const message = error.message.startsWith('/') ? `/job${error.message}` : `/job: ${error.message}`
    throw new ServiceError(error.code, message, errors === undefined ? {} : { errors })
  }
}

/** Where a job is late by more than one tick, further ones wait for it only if they all are to run. */
export const queues = ({ overlap, catch_up }: Plan): boolean =>
  (overlap ?? (catch_up === 'all' ? 'queue' : 'skip')) === 'queue'

export function timingOf(plan: Plan): Timing & CatchUp {
  const { every, mode = 'fixed_rate', start_at, end_at, catch_up, max_lateness, max_catch_up } = plan
  const when = every === undefined ? calendarOf(plan) : { every, mode }
  return { when, start_at, end_at, catch_up, max_lateness, max_catch_up }
}

export const planOf = ({ document }: { document: JsonText }): Plan => JSON.parse(document)

/** What has to stay the same for a grid to stay where it is. */
export function timingKey({ every, mode, cron, fields, time_zone, start_at, end_at }: Plan): string {
  return JSON.stringify([every, mode, cron, fields, time_zone, start_at, end_at])
}

function calendarOf(plan: Plan): Calendar {
  const read = readCalendar(plan)
  if (!read.ok) throw new Error(`a schedule was stored that cannot be read: ${read.findings[0]?.message}`)
  return { pattern: read.value, and: plan.cron === undefined, time_zone: plan.time_zone }
}

const readCalendar = ({ cron, fields }: Plan) => (cron === undefined ? readFields(fields ?? {}) : readCron(cron))

function misreadings(plan: Plan): Finding[] {
  if (plan.every !== undefined) return []
  const read = readCalendar(plan)
  if (read.ok) return []
  // A cron expression is one text: there is nothing in it to point at.
  return read.findings.map(({ path, message }) =>
    plan.cron === undefined
      ? { path: ['fields', ...path], message }
      : { path: ['cron'], message: [path[0], message].filter(Boolean).join(': ') },
  )
}

function conflicts({ every, mode, cron, fields, start_at, end_at, overlap, catch_up }: Plan): Finding[] {
  const found: Finding[] = []
  const refuse = (key: string, message: string) => found.push({ path: [key], message })
  const given = Object.entries({ every, cron, fields }).filter(([, value]) => value !== undefined)
  const [, second] = given
  if (given.length === 0) found.push({ path: [], message: 'must have one of every, cron and fields' })
  if (second !== undefined) refuse(second[0], `must be left out where there is ${given[0]?.[0]}`)
  if (mode !== undefined && every === undefined) refuse('mode', 'must be left out where there is no every')
  if (start_at !== null && end_at !== null && end_at <= start_at) refuse('end_at', 'must be later than start_at')
  if (overlap === 'skip' && catch_up === 'all')
    refuse('overlap', 'must be "queue", or left out, where catch_up is "all": what is caught up overlaps')
  if (mode === 'fixed_delay' && catch_up === 'all')
    refuse('catch_up', 'must be "last" or "none" with fixed_delay, which misses no ticks')
  return found
}

function neverFires(plan: Plan): Finding | null {
  if (plan.every !== undefined || nextInstant(calendarOf(plan), Date.UTC(1970, 0)) !== null) return null
  return { path: [plan.cron === undefined ? 'fields' : 'cron'], message: 'must fit some day: there is none' }
}
