// Why a job is not running: each thing that stands in its way, in words and in fields.
import type { Dispatcher, Holdup } from './dispatcher.js'
import { type Job, type JobStatus, timestamp } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import type { Pauses, Standing, Store } from './store/store.js'

/** One thing that stands in the way; `detail` says the same as the fields do. */
type Obstacle = { detail: string } & (
  | { kind: 'dependency'; jobs: string[] }
  | { kind: 'batch'; batch_id: string; left: number }
  | { kind: 'due_time'; run_at: string }
  | { kind: 'paused'; type: string | null }
  | { kind: 'type_unavailable'; type: string }
  | { kind: 'concurrency_key'; concurrency_key: string; job: string; status: JobStatus }
  | { kind: 'rate'; type: string; next_at: string }
  | { kind: 'type_saturated'; type: string; concurrency: number }
  | { kind: 'slots'; max_workers: number; running: number }
  | { kind: Holdup['kind'] }
)

export interface Why {
  id: string
  status: JobStatus
  reason: string
  reason_detail: string
  /** Empty where nothing does: it is final, it runs, or it is next. */
  waits_for: Obstacle[]
  /** Of a pending job, from 1; null above 1,000, and for any other. */
  position: number | null
}

export interface WhyOptions {
  store: Store
  dispatcher: Dispatcher
  types: JobTypes
  now(): number
}

export function createWhy({ store, dispatcher, types, now }: WhyOptions): (job: Job) => Promise<Why> {
  return async (job) => {
    const { id, status, reason, reason_detail } = job
    const pauses = await store.pauses()
    // Jobs of its own type go before it, whatever keeps the type from running.
    const competes = ({ name, disabled }: JobType) =>
      name === job.type || (disabled === null && !pauses.types.includes(name))
    const shares = [...types.values()]
      .filter(competes)
      .map(({ name, rate }) => ({ type: name, limit: 1, reserved: 0, rate }))
    const standing = await store.standing(job, shares, now())
    const waits_for =
      status === 'waiting'
        ? dependencies(standing)
        : status === 'scheduled' || status === 'retrying'
          ? dueTime(job)
          : status === 'pending'
            ? [...hindrances(job, standing, pauses), ...crowding(job)]
            : []
    const position = status === 'pending' && standing.ahead < 1_000 ? standing.ahead + 1 : null
    return { id, status, reason, reason_detail, waits_for, position }
  }

  /** What is true of this job, whoever else waits. */
  function hindrances({ type, concurrency_key: key }: Job, standing: Standing, pauses: Pauses): Obstacle[] {
    const found: Obstacle[] = []
    const { key_holder: holder, rate_next_at } = standing
    const disabled = types.get(type)?.disabled
    if (disabled !== null)
      found.push({ kind: 'type_unavailable', type, detail: disabled ?? `there is no job type ${type} any more` })
    if (pauses.all) found.push({ kind: 'paused', type: null, detail: 'all types are paused' })
    if (pauses.types.includes(type)) found.push({ kind: 'paused', type, detail: `the type ${type} is paused` })
    if (holder !== null && key !== null) {
      const { id: job, status } = holder
      const detail = `job ${job}, which is ${status}, goes first with the same concurrency_key`
      found.push({ kind: 'concurrency_key', concurrency_key: key, job, status, detail })
    }
    if (rate_next_at !== null) {
      const next_at = timestamp(rate_next_at)
      found.push({ kind: 'rate', type, next_at, detail: `the rate of ${type} lets the next job start at ${next_at}` })
    }
    const holdup = dispatcher.holdup()
    if (holdup !== null) found.push(holdup)
    return found
  }

  /** What others take at this moment. */
  function crowding({ type }: Job): Obstacle[] {
    const found: Obstacle[] = []
    const running = dispatcher.running()
    const max_workers = dispatcher.max_workers()
    const concurrency = types.get(type)?.concurrency ?? null
    if (concurrency !== null && running.filter((job) => job.type === type).length >= concurrency)
      found.push({
        kind: 'type_saturated',
        type,
        concurrency,
        detail: `${concurrency} jobs of ${type} run already, as many as may at once`,
      })
    if (running.length >= max_workers)
      found.push({
        kind: 'slots',
        max_workers,
        running: running.length,
        detail: `all ${max_workers} slots are taken`,
      })
    return found
  }
}

function dependencies({ open_dependencies: jobs, batch }: Standing): Obstacle[] {
  if (batch !== null) {
    const { waiting, scheduled, pending, processing, retrying } = batch.jobs
    const left = waiting + scheduled + pending + processing + retrying
    const detail = batch.open
      ? `jobs are still added to batch ${batch.id}`
      : `${left} jobs of batch ${batch.id} are not final`
    return [{ kind: 'batch', batch_id: batch.id, left, detail }]
  }
  return [{ kind: 'dependency', jobs, detail: `it waits for ${jobs.join(', ')}` }]
}

function dueTime({ run_at, status }: Job): Obstacle[] {
  if (run_at === null) return []
  const at = timestamp(run_at)
  const detail = status === 'retrying' ? `its next attempt is due at ${at}` : `it is due at ${at}`
  return [{ kind: 'due_time', run_at: at, detail }]
}
