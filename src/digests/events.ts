// What a digest tells: events that applications send, and those that jobs make by ending.
import type { Job } from '../job.js'

export interface DigestEvent {
  /** Under which it is counted. */
  kind: string
  /** One line. */
  text: string
  /** Milliseconds since 1970. */
  created_at: number
}

/** A digest as the store needs to know it. */
export interface DigestRules {
  name: string
  /** Bytes of the events that wait for its mail: what is beyond is counted only. */
  max_bytes: number
  /** Which ends of jobs are events of it. */
  job_events: { statuses: readonly Job['status'][]; types: readonly string[] | null } | null
}

/** What a mail is sent about: all that waits, as it was read. */
export interface DigestContent {
  events: DigestEvent[]
  /** How many had no room. */
  unlisted: number
  /** Names what was read, for `Fire`. */
  cut: DigestCut
}

export interface DigestCut {
  digest: string
  /** The last event taken before, and the last one of these. */
  after: number
  until: number
  unlisted: number
}

const SCHEDULE_PREFIX = 'digest.'
/** What an event takes in a mail beside its words. */
const EVENT_BYTES = 64

/** The schedule that sends it. */
export const digestSchedule = (digest: string): string => SCHEDULE_PREFIX + digest

/** The digest that a schedule sends, or null. */
export const digestOf = (schedule: string): string | null =>
  schedule.startsWith(SCHEDULE_PREFIX) ? schedule.slice(SCHEDULE_PREFIX.length) : null

export const bytesOf = ({ kind, text }: DigestEvent): number =>
  EVENT_BYTES + Buffer.byteLength(kind) + Buffer.byteLength(text)

/** Its own mails are no news: with them no digest would ever be empty. */
export function isEventOf({ job_events }: DigestRules, { status, type, schedule }: Job): boolean {
  if (job_events === null || (schedule !== null && digestOf(schedule) !== null)) return false
  return job_events.statuses.includes(status) && (job_events.types?.includes(type) ?? true)
}

/** Of a job that is final. */
export function jobEvent({ id, type, status, error, finished_at, updated_at }: Job): DigestEvent {
  const text = error === null ? id : `${id}: ${error.code}: ${oneLine(error.message).slice(0, 500)}`
  return { kind: `${type} ${status}`, text, created_at: finished_at ?? updated_at }
}

/** Without line breaks and other control characters: a mail shows one event a line. */
export const oneLine = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
