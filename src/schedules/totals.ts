// What the runs of a schedule came to: how many ended how, and the sums of the numbers that they returned.
import type { Job } from '../job.js'

export interface Totals {
  completed: number
  failed: number
  cancelled: number
  /** By the names of the fields of the results, "files.bytes" where one stands in another. */
  sums: Record<string, number>
  last_job_id: string
  /** Milliseconds since 1970. */
  last_ended_at: number
}

/** Names beyond these have no sum: a handler may return any. */
const MOST_SUMS = 50
const DEEPEST = 3

/** The totals with those of a job that is final. */
export function addRun(totals: Totals | null, job: Job): Totals {
  const { id, status, finished_at, updated_at } = job
  const before = totals ?? { completed: 0, failed: 0, cancelled: 0, sums: {}, last_job_id: id, last_ended_at: 0 }
  const counted = status === 'completed' || status === 'failed' || status === 'cancelled' ? status : null
  return {
    ...before,
    ...(counted === null ? {} : { [counted]: before[counted] + 1 }),
    sums: status === 'completed' ? addUp(before.sums, numbersOf(job)) : before.sums,
    last_job_id: id,
    last_ended_at: finished_at ?? updated_at,
  }
}

function addUp(sums: Record<string, number>, more: [string, number][]): Record<string, number> {
  const added = new Map(Object.entries(sums))
  for (const [name, value] of more) {
    const sum = (added.get(name) ?? 0) + value
    if ((added.has(name) || added.size < MOST_SUMS) && Number.isFinite(sum)) added.set(name, sum)
  }
  return Object.fromEntries(added)
}

function numbersOf({ result }: Job): [string, number][] {
  return result === null ? [] : [...leaves(JSON.parse(result), [])]
}

/** The numbers in an object and in those that it holds, with the names that lead to them. */
function* leaves(value: unknown, path: string[]): Generator<[string, number]> {
  if (typeof value === 'number' && path.length > 0) yield [path.join('.'), value]
  if (typeof value !== 'object' || value === null || Array.isArray(value) || path.length === DEEPEST) return
  for (const [name, inner] of Object.entries(value)) yield* leaves(inner, [...path, name])
}
