// What fits a filter, and how many: what every driver decides alike.
import { JOB_STATUSES, type Job } from '../job.js'
import type { JobFilter, PruneRequest } from './store.js'

export function fits(job: Job, { status = JOB_STATUSES, type, tag, batch, created_after }: JobFilter): boolean {
  return (
    status.includes(job.status) &&
    (type ?? job.type) === job.type &&
    (batch === undefined || job.batch_id === batch) &&
    (tag === undefined || tagsOf(job).includes(tag)) &&
    (created_after === undefined || job.created_at > created_after)
  )
}

/** Of a job, each as it is stored and asked for: "key:value". */
export function tagsOf({ tags }: Job): string[] {
  return Object.entries(tags).map(([key, value]) => `${key}:${value}`)
}

/** How many there are of each key; null is none. */
export function tally<T>(items: readonly T[], keyOf: (item: T) => string | null): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) {
    const key = keyOf(item)
    if (key !== null) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return counts
}

export function isAmong(type: string, types: PruneRequest['types']): boolean {
  return 'only' in types ? types.only.includes(type) : !types.except.includes(type)
}
