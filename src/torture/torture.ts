// jobmill torture: tries every fault against a build on this machine, and writes down what was seen.
import type { Bench, Fault, Finding } from './bench.js'
import { cancels } from './faults/cancels.js'
import { fullQueue, slowClients, spinningSlots } from './faults/clients.js'
import { movedClock } from './faults/clock.js'
import { crowd } from './faults/cluster/crowd.js'
import { killedNodes } from './faults/cluster/kills.js'
import { badLines } from './faults/cluster/lines.js'
import { databaseRestarts } from './faults/cluster/restarts.js'
import { skewedClocks } from './faults/cluster/skew.js'
import { stoppedNodes } from './faults/cluster/stops.js'
import { racedTicks } from './faults/cluster/ticks.js'
import { lateWrites } from './faults/fence.js'
import { damagedFiles } from './faults/files.js'
import { badHandlers } from './faults/handlers.js'
import { ioErrors } from './faults/io.js'
import { killUnderLoad } from './faults/kill.js'
import { foreignLock } from './faults/lock.js'
import { powerCut } from './faults/power.js'
import { signals } from './faults/signals.js'
import { fullDisk } from './faults/space.js'
import { killedAtTicks } from './faults/ticks.js'

export type Driver = 'sqlite3' | 'postgres'

/** Of one node on SQLite. */
const NODE_FAULTS: readonly Fault[] = [
  killUnderLoad,
  powerCut,
  ioErrors,
  fullDisk,
  foreignLock,
  damagedFiles,
  badHandlers,
  cancels,
  signals,
  slowClients,
  movedClock,
  fullQueue,
  spinningSlots,
  lateWrites,
  killedAtTicks,
]

/** Of several nodes on PostgreSQL. */
const CLUSTER_FAULTS: readonly Fault[] = [
  killedNodes,
  stoppedNodes,
  databaseRestarts,
  badLines,
  skewedClocks,
  racedTicks,
  crowd,
]

export const FAULTS: Record<Driver, readonly Fault[]> = { sqlite3: NODE_FAULTS, postgres: CLUSTER_FAULTS }

/** Faults that are tried side by side: those of several nodes keep the machine busy alone. */
const LANES: Record<Driver, number> = { sqlite3: 2, postgres: 1 }

export interface Row {
  fault: Fault
  /** Null where it could not be tried here. */
  finding: Finding | null
  /** Why it could not. */
  missing: string | null
  seconds: number
}

export interface TortureOptions extends Omit<Bench, 'interrupted'> {
  driver: Driver
  /** Numbers of the faults to try; null: all. */
  only: readonly number[] | null
  tell(line: string): void
}

/** Tries the faults, those that need a quiet machine first and one by one. Rows are in the order of FAULTS. */
export async function torture({ driver, only, tell, ...options }: TortureOptions): Promise<Row[]> {
  const interrupted = new AbortController()
  const bench = { ...options, interrupted: interrupted.signal }
  const chosen = FAULTS[driver].filter(({ number }) => only === null || only.includes(number))
  const rows: Row[] = []
  const waiting = chosen.filter(({ quiet }) => !quiet)
  // A terminal's Ctrl-C ends the servers too. What is under way then fails, and cleans up after itself.
  const interrupt = () => interrupted.abort(new Error('interrupted'))
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)

  async function lane(faults: Fault[]): Promise<void> {
    for (let fault = faults.shift(); fault !== undefined && !bench.interrupted.aborted; fault = faults.shift()) {
      const row = await attempt(fault, bench)
      rows.push(row)
      tell(line(row))
    }
  }

  await lane(chosen.filter(({ quiet }) => quiet))
  await Promise.all(Array.from({ length: LANES[driver] }, () => lane(waiting)))
  process.off('SIGINT', interrupt)
  process.off('SIGTERM', interrupt)
  return rows.sort((a, b) => a.fault.number - b.fault.number)
}

async function attempt(fault: Fault, bench: Bench): Promise<Row> {
  const begun = performance.now()
  const missing = fault.missing()
  const finding = missing === null ? await fault.run(bench).catch(broken) : null
  return { fault, finding, missing, seconds: Math.round((performance.now() - begun) / 1_000) }
}

/** What could not be tried to its end shows nothing. */
function broken(error: unknown): Finding {
  const why = error instanceof Error ? error.message : String(error)
  return { rounds: 0, counts: {}, violations: [`could not be tried to its end: ${why}`] }
}

export const holds = ({ finding }: Row): boolean => finding === null || finding.violations.length === 0

function line(row: Row): string {
  const { fault, seconds } = row
  return `${String(fault.number).padStart(2)}  ${verdict(row).padEnd(8)} ${String(seconds).padStart(4)} s  ${fault.name}${details(row)}`
}

function verdict(row: Row): string {
  if (row.finding === null) return 'skipped'
  return holds(row) ? 'holds' : 'BROKEN'
}

function details({ finding, missing }: Row): string {
  if (finding === null) return `: ${missing}`
  return finding.violations.map((violation) => `\n      ${violation}`).join('')
}
