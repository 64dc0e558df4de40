// The answer of GET /workers/stats: what the store counts of the whole service, and what its nodes measured.
import { ServiceError } from '../errors.js'
import { type FinalStatus, JOB_STATUSES, type JobStatus, timestamp } from '../job.js'
import type { Node, Nodes } from '../nodes.js'
import { NOTHING_MEASURED, type Slot, type Stats, sumUp } from '../stats/sum.js'
import type { Counts, Pauses, Store, TypeCounts } from '../store/store.js'

interface NodesView {
  max_workers: number
  threads: number
  queue_size: number
  /** The one that answers, or that was asked for. */
  node: string
}

export interface StatsSources {
  store: Store
  nodes: Nodes
  node: string
  queue_size: number
}

export type StatsView = ReturnType<typeof statsView>

/**
 * Of all nodes that are alive, or of the one with the id `only`.
 *
 * @throws ServiceError node_not_found
 */
export async function readStats({ store, nodes, node, queue_size }: StatsSources, only?: string): Promise<StatsView> {
  const all = (await nodes.list()).filter(({ state }) => state !== 'lost')
  const shown = only === undefined ? all : all.filter(({ id }) => id === only)
  if (only !== undefined && shown.length === 0)
    throw new ServiceError('node_not_found', `there is no node ${only.slice(0, 100)} now`)
  const sum = (of: (node: Node) => number) => shown.reduce((sum, node) => sum + of(node), 0)
  const view = {
    max_workers: sum(({ max_workers }) => max_workers),
    threads: sum(({ threads }) => threads),
    queue_size,
    node: only ?? node,
  }
  const measured = sumUp(shown.flatMap(({ id, stats }) => (stats === null ? [] : [{ id, stats }])))
  return statsView(await store.counts(), await store.pauses(), view, measured)
}

/** The first four fields keep names and meanings for ever. */
function statsView(counts: Counts, pauses: Pauses, nodes: NodesView, stats: Stats) {
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
    ...nodes,
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

function slotView({ node, slot, job }: Slot) {
  if (job === null) return { node, slot, job }
  const { id, type, attempt, started_at, progress, progress_note } = job
  return { node, slot, job: { id, type, attempt, started_at: timestamp(started_at), progress, progress_note } }
}
