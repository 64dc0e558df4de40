// Digests as the API and the pages show them: when the next mail of each goes out, and what it would say.
import { timestamp } from '../job.js'
import { findSchedule } from '../schedules/find.js'
import { planOf } from '../schedules/plan.js'
import type { Schedule, Store } from '../store/store.js'
import { digestSchedule } from './events.js'
import { countOf, countsOf, mailText } from './mail.js'

export const scheduleOf = (store: Store, digest: string) => findSchedule(store, digestSchedule(digest))

/** When its next mail goes out; null: not as things are. */
export const nextOf = ({ paused_at, next_at }: Schedule) =>
  paused_at !== null || next_at === null ? null : timestamp(next_at)

export async function digestSummary(store: Store, name: string) {
  const schedule = await scheduleOf(store, name)
  return { name, schedule: schedule.name, next_at: nextOf(schedule), events: countOf(await store.digest(name)) }
}

export async function digestPreview(store: Store, name: string) {
  const content = await store.digest(name)
  const { to, subject } = Object(Object(planOf(await scheduleOf(store, name)).job).payload)
  return {
    ...(await digestSummary(store, name)),
    ...{ to, subject },
    counts: Object.fromEntries(countsOf(content)),
    unlisted: content.unlisted,
    body: mailText(content),
  }
}
