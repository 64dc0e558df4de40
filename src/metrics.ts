// What Prometheus scrapes: counts of the store, gauges of this node, and measurements made of events.
import { statSync } from 'node:fs'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { EventBus } from './events.js'
import { type EventVerb, FINAL_STATUSES, JOB_STATUSES } from './job.js'
import type { Store } from './store/store.js'

export interface MetricsOptions {
  store: Store
  bus: EventBus
  /** Of the database; beside it is its write-ahead log. Null: it is not a file of this machine. */
  file: string | null
  queue_size: number
  max_stored: number
  slots(): { busy: number; max: number }
  threads(): number
}

export interface Metrics {
  content_type: string
  /** In the text format of Prometheus. */
  text(): Promise<string>
  /** A run began after it waited, or ended after it ran, for so many milliseconds. */
  measured(type: string, what: 'wait' | 'run', ms: number): void
  /** A transaction is on disk: so many writes shared it, for so many milliseconds. */
  committed(writes: number, ms: number): void
}

/** Seconds: from what nobody notices to what somebody is told about. */
const WAITS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800]
const COMMITS = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5]
const GROUPS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000]

const COUNTED: readonly EventVerb[] = ['submit', 'retry', 'rescue', 'release', 'expire', 'snooze']

export function createMetrics(options: MetricsOptions): Metrics {
  const { store, bus, file, slots, threads } = options
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  // Gauges with the name of a counter: promtool refuses them.
  for (const what of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${what}_total`)

  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `jobmill_${name}`, help, labelNames, registers })
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name: `jobmill_${name}_total`, help, labelNames, registers })
  const histogram = (name: string, help: string, labelNames: string[], buckets: number[]) =>
    new Histogram({ name: `jobmill_${name}`, help, labelNames, buckets, registers })

  const jobs = gauge('jobs', 'Jobs that are stored, by type and status; of the whole service', ['type', 'status'])
  const finished = counter('jobs_finished', 'Jobs that ever ended, by type and outcome; of the whole service', [
    'type',
    'outcome',
  ])
  const bounds = gauge(
    'queue_bound_jobs',
    'Jobs that may be pending (queue_size), or not final (max_stored); of the whole service',
    ['bound'],
  )
  const slot = gauge('slots', 'Slots of this node, by state', ['state'])
  const thread = gauge('threads', 'Threads of this node, alive or starting')
  const bytes = gauge('database_bytes', 'Size of the database and of its write-ahead log', ['file'])
  const moves = counter('job_moves', 'Submissions, retries, rescues, releases, expiries and snoozes of jobs, by type', [
    'type',
    'verb',
  ])
  const refused = counter('refusals', 'Requests, and lines of streams, that were answered with a problem', ['reason'])
  const durations = {
    wait: histogram('job_wait_seconds', 'From when a job became due to the start of its run', ['type'], WAITS),
    run: histogram('job_run_seconds', 'From the start of a run to its end', ['type'], WAITS),
  }
  const writes = histogram('commit_writes', 'Writes that shared a transaction', [], GROUPS)
  const commits = histogram('commit_seconds', 'What a transaction took, its fsync included', [], COMMITS)

  bus.subscribe((event) => {
    if (event.kind === 'refused') refused.inc({ reason: event.code })
    if (event.kind === 'job' && COUNTED.includes(event.verb)) moves.inc({ type: event.job.type, verb: event.verb })
  })

  async function read(): Promise<void> {
    jobs.reset()
    finished.reset()
    for (const [type, { now, ever }] of Object.entries(await store.counts())) {
      for (const status of JOB_STATUSES) jobs.set({ type, status }, now[status] ?? 0)
      for (const outcome of FINAL_STATUSES) finished.inc({ type, outcome }, ever[outcome] ?? 0)
    }
    bounds.set({ bound: 'queue_size' }, options.queue_size)
    bounds.set({ bound: 'max_stored' }, options.max_stored)
    const { busy, max } = slots()
    slot.set({ state: 'busy' }, busy)
    slot.set({ state: 'free' }, Math.max(0, max - busy))
    thread.set(threads())
    if (file === null) return
    bytes.set({ file: 'database' }, sizeOf(file))
    bytes.set({ file: 'wal' }, sizeOf(`${file}-wal`))
  }

  return {
    content_type: registry.contentType,
    async text() {
      await read()
      return registry.metrics()
    },
    measured: (type, what, ms) => durations[what].observe({ type }, ms / 1_000),
    committed(n, ms) {
      writes.observe(n)
      commits.observe(ms / 1_000)
    },
  }
}

/** 0 where there is none. */
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0
