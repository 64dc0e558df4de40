// What a cleanup has done so far: shown as progress, and a pause between items in which a cancel is heard.
import { setImmediate as turn } from 'node:timers/promises'
import type { JobContext } from '../../src/define-job.js'

/** What all targets are asked: what is older than `before` (milliseconds since 1970), and whether only to count it. */
export interface Task {
  before: number
  dry_run: boolean
  meter: Meter
}

type Meter = ReturnType<typeof createMeter>

type Kind = 'jobs' | 'files' | 'folders' | 'rows'

/** Calls to the file system are made at once, not in turn with others: no longer than this before others have theirs. */
const SLICE_MS = 10

/** The work has `units` parts that count alike: jobmill's jobs are one, each root is one, each table is one. */
export function createMeter(ctx: Pick<JobContext, 'signal' | 'progress'>, units: number) {
  const counts: Record<Kind, number> = { jobs: 0, files: 0, folders: 0, rows: 0 }
  let bytes = 0
  let finished = 0
  let turned_at = performance.now()

  function publish(share: number): Promise<void> {
    return ctx.progress((100 * (finished + share)) / units, describe(counts, bytes))
  }

  return {
    add(kind: Kind, count: number, size = 0): void {
      counts[kind] += count
      bytes += size
    },
    /** Between two items; `share` of the present unit is done. @throws the signal's reason, once it has fired */
    async step(share: number): Promise<void> {
      ctx.signal.throwIfAborted()
      if (performance.now() - turned_at < SLICE_MS) return
      await publish(share)
      await turn()
      turned_at = performance.now()
      ctx.signal.throwIfAborted()
    },
    /** After a unit. @throws the signal's reason, once it has fired */
    async unit(): Promise<void> {
      ctx.signal.throwIfAborted()
      finished += 1
      await publish(0)
    },
  }
}

function describe(counts: Record<Kind, number>, bytes: number): string {
  const parts = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count.toLocaleString('en-US')} ${count === 1 ? kind.slice(0, -1) : kind}`)
  return [...parts, ...(bytes > 0 ? [formatBytes(bytes)] : [])].join(', ') || 'nothing so far'
}

function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1)
  return `${(bytes / 1_000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}
