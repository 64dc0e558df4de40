// Why a job is not running: each thing that stands in its way, in words and in fields.
import type { Dispatcher, Holdup } from './dispatcher.js'
import { type Job, type JobStatus, timestamp } from './job.js'
import type { JobType, JobTypes } from './job-types.js'
import type { Node, Nodes } from './nodes.js'
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
  | { kind: 'no_node'; type: string }
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
  nodes: Nodes
  now(): number
}

export function createWhy({ store, dispatcher, types, nodes, now }: WhyOptions): (job: Job) => Promise<Why> {
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
    // Nodes that may run it: what keeps this one from it does not matter where there are others.
    const [here, ...others] = await nodes.list()
    const able = others.filter(
      ({ state, trouble, types }) => state === 'alive' && trouble === null && types.includes(job.type),
    )
    const own = ownObstacle(job)
    if (own === null || able.length === 0) able.unshift(here)
    const waits_for =
      status === 'waiting'
        ? dependencies(standing)
        : status === 'scheduled' || status === 'retrying'
          ? dueTime(job)
          : status === 'pending'
            ? [
                ...hindrances(job, standing, pauses),
                ...(own !== null && able[0] === here ? [own] : []),
                ...crowding(job, able),
              ]
            : []
    const position = status === 'pending' && standing.ahead < 1_000 ? standing.ahead + 1 : null
    return { id, status, reason, reason_detail, waits_for, position }
  }

  /** What is true of this job, whoever else waits. */
  function hindrances({ type, concurrency_key: key }: Job, standing: Standing, pauses: Pauses): Obstacle[] {
    const found: Obstacle[] = []
    const { key_holder: holder, rate_next_at } = standing
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
    return found
  }

  /** Why this node does not run it, or null. */
  function ownObstacle({ type }: Job): Obstacle | null {
    const disabled = types.get(type)?.disabled
    if (disabled !== null)
      return { kind: 'type_unavailable', type, detail: disabled ?? `there is no job type ${type} any more` }
    if (dispatcher.types().includes(type)) return dispatcher.holdup()
    return { kind: 'no_node', type, detail: `no node that is alive and well runs jobs of ${type}` }
  }

  /** What others take at this moment. */
  function crowding({ type }: Job, able: readonly Node[]): Obstacle[] {
    const found: Obstacle[] = []
    const runs = (node: Node) => (node.stats?.slots ?? []).filter(({ job }) => job?.type === type).length
    const concurrency = types.get(type)?.concurrency ?? null
    if (concurrency !== null && able.every((node) => runs(node) >= concurrency)) {
      const most = concurrency * able.length
      const detail = `${most} jobs of ${type} run already, as many as may at once`
      found.push({ kind: 'type_saturated', type, concurrency: most, detail })
    }
    const running = able.reduce((sum, { active_workers }) => sum + active_workers, 0)
    const max_workers = able.reduce((sum, { max_workers }) => sum + max_workers, 0)
    if (able.every((node) => node.active_workers >= node.max_workers))
      found.push({ kind: 'slots', max_workers, running, detail: `all ${max_workers} slots are taken` })
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
