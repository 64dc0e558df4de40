// The answer of GET /workers/stats: what the store counts of the whole service, and what this node measured.
import type { Dispatcher } from '../dispatcher.js'
import { type FinalStatus, JOB_STATUSES, type JobStatus, timestamp } from '../job.js'
import type { Pool } from '../pool/pool.js'
import { NOTHING_MEASURED, type Slot, type Stats } from '../stats/stats.js'
import type { Counts, Pauses, Store, TypeCounts } from '../store/store.js'

interface NodeView {
  max_workers: number
  threads: number
  queue_size: number
  node: string
}

export interface StatsSources {
  store: Store
  dispatcher: Dispatcher
  pool: Pool
  /** Reads the measurements of this node. */
  stats(): Stats
  node: string
  queue_size: number
}

export type StatsView = ReturnType<typeof statsView>

export async function readStats({
  store,
  dispatcher,
  pool,
  stats,
  node,
  queue_size,
}: StatsSources): Promise<StatsView> {
  // Read first: right after a resize it is when the measurements hear of the new bound.
  const measured = stats()
  const here = { max_workers: dispatcher.max_workers(), threads: pool.threads(), queue_size, node }
  return statsView(await store.counts(), await store.pauses(), here, measured)
}

/** The first four fields keep names and meanings for ever. */
function statsView(counts: Counts, pauses: Pauses, node: NodeView, stats: Stats) {
  const all = Object.values(counts)
  const now = (status: JobStatus) => all.reduce((sum, type) => sum + (type.now[status] ?? 0), 0)
  const ever = (status: FinalStatus) => all.reduce((sum, type) => sum + (type.ever[status] ?? 0), 0)
  return {
    active_workers: now('processing'),
    queued_jobs: now('pending'),
    completed_jobs: ever('completed'),
    failed_jobs: ever('failed'),
    cancelled_jobs: ever('cancelled'),
    jobs_by_status: Object.fromEntries(JOB_STATUSES.map((status) => [status, now(status)])),
    ...pausesView(pauses),
    ...node,
    since: timestamp(stats.since),
    utilisation: stats.utilisation,
    throughput: stats.throughput,
    wait_ms: stats.wait_ms,
    run_ms: stats.run_ms,
    last_hour: { ...stats.last_hour, ends_at: timestamp(stats.last_hour.ends_at) },
    types: Object.fromEntries(Object.entries(counts).map(([name, type]) => [name, typeView(name, type, stats)])),
    slots: stats.slots.map(slotView),
  }
}

export function pausesView({ all, types }: Pauses) {
  return { paused: all, paused_types: types }
}

function typeView(name: string, { now, ever }: TypeCounts, { types }: Stats) {
  return {
    ...(Object.fromEntries(JOB_STATUSES.map((status) => [status, now[status] ?? 0])) as Record<JobStatus, number>),
    completed_jobs: ever.completed ?? 0,
    failed_jobs: ever.failed ?? 0,
    cancelled_jobs: ever.cancelled ?? 0,
    ...(types.get(name) ?? NOTHING_MEASURED),
  }
}

function slotView({ slot, job }: Slot) {
  if (job === null) return { slot, job }
  const { id, type, attempt, started_at, progress, progress_note } = job
  return { slot, job: { id, type, attempt, started_at: timestamp(started_at), progress, progress_note } }
}
