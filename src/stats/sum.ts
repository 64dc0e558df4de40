// What the nodes measured, taken together: sums, and percentiles over the runs of all.
import { FINAL_STATUSES, type FinalStatus } from '../job.js'
import { type Durations, type PackedHistogram, summarise, unpack } from './histogram.js'
import type { LastHour } from './last-hour.js'
import type { Throughput, Windows } from './load.js'
import type { NodeStats, RunningJob } from './stats.js'

/** Of the runs that began (wait) and ended (run) in the last 15 minutes. */
export interface Measures {
  /** From the time a job became due to the start of its run. */
  wait_ms: Durations
  /** From the start of a run to its end, whatever the outcome; a rescue ends runs of a process that died: none of ours. */
  run_ms: Durations
}

/** Of a type without runs. */
export const NOTHING_MEASURED: Measures = { wait_ms: summarise([]), run_ms: summarise([]) }

export interface Slot {
  node: string
  slot: number
  job: RunningJob | null
}

export interface Stats extends Measures {
  /** Milliseconds since 1970: when the first of the measurements began. */
  since: number
  /** Types that had runs in the last 15 minutes. */
  types: Map<string, Measures>
  throughput: Windows<Throughput>
  /** By slots. */
  utilisation: Windows<number>
  last_hour: LastHour
  slots: Slot[]
}

const WINDOWS = ['last_1m', 'last_5m', 'last_15m'] as const
const MINUTE_MS = 60_000

export function sumUp(nodes: readonly { id: string; stats: NodeStats }[]): Stats {
  const all = nodes.map(({ stats }) => stats)
  const names = new Set(all.flatMap(({ types }) => Object.keys(types)))
  return {
    since: Math.min(...all.map(({ since }) => since)),
    ...together(all.map(({ measured }) => measured)),
    types: new Map([...names].map((name) => [name, together(all.flatMap(({ types }) => types[name] ?? []))])),
    throughput: inWindows((window) => addUp(all.map(({ throughput }) => throughput[window]))),
    utilisation: inWindows((window) => {
      const slots = all.reduce((sum, node) => sum + node.slots.length, 0)
      return rounded(all.reduce((sum, node) => sum + node.utilisation[window] * node.slots.length, 0) / (slots || 1))
    }),
    last_hour: lastHour(all.map(({ last_hour }) => last_hour)),
    slots: nodes.flatMap(({ id, stats }) => stats.slots.map((slot) => ({ node: id, ...slot }))),
  }
}

function together(measured: readonly { wait: PackedHistogram; run: PackedHistogram }[]): Measures {
  return {
    wait_ms: summarise(measured.map(({ wait }) => unpack(wait))),
    run_ms: summarise(measured.map(({ run }) => unpack(run))),
  }
}

function inWindows<T>(figure: (window: (typeof WINDOWS)[number]) => T): Windows<T> {
  return { last_1m: figure('last_1m'), last_5m: figure('last_5m'), last_15m: figure('last_15m') }
}

function addUp(all: readonly Throughput[]): Throughput {
  const sum = (of: keyof Throughput) => rounded(all.reduce((sum, one) => sum + one[of], 0))
  return {
    jobs_per_minute: sum('jobs_per_minute'),
    completed_per_minute: sum('completed_per_minute'),
    failed_per_minute: sum('failed_per_minute'),
    cancelled_per_minute: sum('cancelled_per_minute'),
  }
}

/** Minutes of other nodes are cut elsewhere: each is added to the one that it lies in for the most part. */
function lastHour(all: readonly LastHour[]): LastHour {
  const ends_at = Math.max(...all.map((one) => one.ends_at))
  const series = (status: FinalStatus) =>
    (all[0]?.[status] ?? []).map((_, minute) =>
      all.reduce((sum, one) => {
        const shift = Math.round((ends_at - one.ends_at) / MINUTE_MS)
        return sum + (one[status][minute + shift] ?? 0)
      }, 0),
    )
  const [completed, failed, cancelled] = FINAL_STATUSES.map(series) as [number[], number[], number[]]
  return { ends_at, completed, failed, cancelled }
}

const rounded = (figure: number) => Math.round(figure * 1_000) / 1_000
