// Calendars: cron expressions and field lists, read into the values that each field allows, and their next instants.
import { Cron } from 'croner'
import type { Finding } from '../explain.js'

interface Field {
  name: string
  min: number
  max: number
  /** Names in the order of their values, from `min` on. */
  names: readonly string[]
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

/** In the order of a cron expression. Sunday is 0 and 7. */
const FIELDS = [
  { name: 'seconds', min: 0, max: 59, names: [] },
  { name: 'minutes', min: 0, max: 59, names: [] },
  { name: 'hours', min: 0, max: 23, names: [] },
  { name: 'days_of_month', min: 1, max: 31, names: [] },
  { name: 'months', min: 1, max: 12, names: MONTHS },
  { name: 'days_of_week', min: 0, max: 7, names: DAYS },
] as const satisfies readonly Field[]

type FieldName = (typeof FIELDS)[number]['name']
/** A value or a range of values, both ends included. */
type FieldItem = number | string | [number | string, number | string]
export type FieldLists = Partial<Record<FieldName, FieldItem[]>>

/** What each field allows, as croner reads it; with `and` a day has to fit both its fields. */
export interface Calendar {
  pattern: string
  and: boolean
  time_zone: string
}

type Read<T> = { ok: true; value: T } | { ok: false; findings: Finding[] }

/** Five fields, or six with seconds first, as crontab(5) has them: where both fields of days are given, either fits. */
export function readCron(text: string): Read<string> {
  const parts = text.trim().split(/\s+/)
  if (parts.length !== 5 && parts.length !== 6)
    return wrong(
      [],
      `must have five fields, or six with seconds first; it has ${text.trim() === '' ? 0 : parts.length}`,
    )
  const [seconds, ...others] = parts.length === 6 ? parts : ['0', ...parts]
  return collect([seconds as string, ...others].map((part, i) => cronField(part, FIELDS[i] as Field)))
}

/** OR within a field, AND across fields; what is left out is 0 for the seconds, and everything else. */
export function readFields(lists: FieldLists): Read<string> {
  return collect(
    FIELDS.map((field) => {
      const items = lists[field.name]
      if (items === undefined) return { ok: true, value: field.name === 'seconds' ? '0' : '*' }
      if (items.length === 0) return wrong([field.name], 'must not be empty')
      return collect(
        items.map((item, i) => listItem(item, field, i)),
        ',',
      )
    }),
  )
}

/** @param time_zone a name of the IANA database, such as "Europe/Berlin" */
export function isTimeZone(time_zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: time_zone })
    return true
  } catch {
    return false
  }
}

/**
 * The first instant after `after` that the calendar allows; null: there is none. A local time that the clocks leave out
 * comes at the first instant behind the gap, one that they show twice comes once; what comes every hour comes in both.
 */
export function nextInstant(calendar: Calendar, after: number): number | null {
  return cronOf(calendar).nextRun(new Date(after))?.getTime() ?? null
}

/** Up to `n` instants from `first` on and before `before`, those that come last, oldest first. */
export function previousInstants(calendar: Calendar, first: number, before: number, n: number): number[] {
  const cron = cronOf(calendar)
  const found: number[] = []
  for (let at = before; found.length < n; found.unshift(at)) {
    const [previous] = cron.previousRuns(1, new Date(at))
    if (previous === undefined || previous.getTime() < first) break
    at = previous.getTime()
  }
  return found
}

const cronOf = ({ pattern, and, time_zone }: Calendar) =>
  new Cron(pattern, { timezone: time_zone, paused: true, domAndDow: and })

function cronField(part: string, field: Field): Read<string> {
  return collect(
    part.split(',').map((item) => cronItem(item, field)),
    ',',
  )
}

function cronItem(item: string, field: Field): Read<string> {
  const [, range = '', step] = /^([^/]*)(?:\/(.*))?$/.exec(item) ?? []
  const by = step === undefined ? 1 : /^\d{1,2}$/.test(step) ? Number(step) : 0
  if (by < 1) return wrong([field.name], `"${cut(item)}" has no step from 1 on`)
  const stepped = (text: string) => (step === undefined ? text : `${text}/${by}`)
  if (range === '*') return { ok: true, value: stepped('*') }
  const [from, to, more] = range.split('-')
  if (more !== undefined || from === undefined) return wrong([field.name], `"${cut(item)}" is not a value or a range`)
  const read = rangeOf(from, to ?? from, field, [field.name])
  if (!read.ok) return read
  if (step !== undefined && to === undefined)
    return wrong([field.name], `"${cut(item)}": a step needs * or a range, such as ${from}-${field.max}/${by}`)
  return { ok: true, value: stepped(to === undefined ? String(read.value[0]) : read.value.join('-')) }
}

function listItem(item: FieldItem, field: Field, i: number): Read<string> {
  const path = [field.name, String(i)]
  const [from, to] = Array.isArray(item) ? item : [item, item]
  const read = rangeOf(from, to, field, path)
  return read.ok ? { ok: true, value: Array.isArray(item) ? read.value.join('-') : String(read.value[0]) } : read
}

function rangeOf(from: number | string, to: number | string, field: Field, path: string[]): Read<[number, number]> {
  const [first, last] = [valueIn(from, field), valueIn(to, field)]
  if (first === null || last === null)
    return wrong(path, `"${cut(String(first === null ? from : to))}" is not one of ${allowed(field)}`)
  // A range may end with Sunday, which then is 7.
  const end = field.name === 'days_of_week' && last === 0 && first > 0 ? 7 : last
  if (first > end) return wrong(path, `the range from ${from} to ${to} is empty`)
  return { ok: true, value: [first, end] }
}

function valueIn(text: number | string, { min, max, names }: Field): number | null {
  const named = typeof text === 'string' ? names.indexOf(text.toLowerCase().slice(0, 3)) : -1
  const full = typeof text === 'string' && (text.length === 3 || FULL_NAMES.includes(text.toLowerCase()))
  if (named >= 0 && full) return min + named
  const value = typeof text === 'number' || /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN
  return Number.isInteger(value) && value >= min && value <= max ? value : null
}

const FULL_NAMES = [
  ...[
    'january',
    'february',
    'march',
    'april',
    'june',
    'july',
    'august',
    'september',
    'october',
    'november',
    'december',
  ],
  ...['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'],
]

function allowed({ min, max, names }: Field): string {
  return names.length === 0 ? `${min} to ${max}` : `${min} to ${max} and ${names[0]} to ${names.at(-1)}`
}

function collect(parts: Read<string>[], by = ' '): Read<string> {
  const findings = parts.flatMap((part) => (part.ok ? [] : part.findings))
  if (findings.length > 0) return { ok: false, findings }
  return { ok: true, value: parts.map((part) => (part.ok ? part.value : '')).join(by) }
}

function wrong(path: string[], message: string): { ok: false; findings: Finding[] } {
  return { ok: false, findings: [{ path, message }] }
}

const cut = (text: string) => text.slice(0, 40)
