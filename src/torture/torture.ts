// jobmill torture: tries every fault against a build on this machine, and writes down what was seen.
import { writeFileSync } from 'node:fs'
import { cpus, release, type } from 'node:os'
import type { Bench, Fault, Finding } from './bench.js'
import { cancels } from './faults/cancels.js'
import { fullQueue, slowClients, spinningSlots } from './faults/clients.js'
import { movedClock } from './faults/clock.js'
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

export const FAULTS: readonly Fault[] = [
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

/** Faults that are tried side by side. */
const LANES = 2

export interface Row {
  fault: Fault
  /** Null where it could not be tried here. */
  finding: Finding | null
  /** Why it could not. */
  missing: string | null
  seconds: number
}

export interface TortureOptions extends Omit<Bench, 'interrupted'> {
  /** Numbers of the faults to try; null: all. */
  only: readonly number[] | null
  tell(line: string): void
}

/** Tries the faults, those that need a quiet machine first and one by one. Rows are in the order of FAULTS. */
export async function torture({ only, tell, ...options }: TortureOptions): Promise<Row[]> {
  const interrupted = new AbortController()
  const bench = { ...options, interrupted: interrupted.signal }
  const chosen = FAULTS.filter(({ number }) => only === null || only.includes(number))
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
  await Promise.all(Array.from({ length: LANES }, () => lane(waiting)))
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

/** As a page of the documentation. */
export function writeReport(file: string, rows: readonly Row[], version: string, today: string): void {
  const table = rows.map((row) => {
    const { fault, finding } = row
    const seen =
      finding === null ? `not tried: ${row.missing}` : [...new Set(finding.violations)].join('; ') || 'as expected'
    const cells = [fault.number, fault.name, fault.expected, seen, finding?.rounds ?? 0, counts(finding)]
    return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`
  })
  const machine = `${type()} ${release().split('-')[0]}, ${cpus().length} cores, Node ${process.versions.node}`
  writeFileSync(file, [...PREFACE, `${today}, jobmill ${version}, ${machine}:`, '', ...HEAD, ...table, ''].join('\n'))
}

function counts(finding: Finding | null): string {
  const entries = Object.entries(finding?.counts ?? {}).filter(([, n]) => n > 0)
  return entries.map(([name, n]) => `${name} ${n.toLocaleString('en')}`).join(', ')
}

const PREFACE = [
  '# Reliability',
  '',
  'What jobmill promises when things go wrong, and what was seen when they did. `jobmill torture --report FILE` writes',
  'this page: it starts real servers in folders of their own, does to them what the table says, and then checks them.',
  '',
  'The checker knows what clients were told and what handlers did: clients write down which submissions were',
  'acknowledged (202), refused, or left unknown; handlers append the id and run of their job to a file. After recovery,',
  'when all jobs have ended, it demands that all acknowledged jobs are stored and no refused one is, that each ended',
  'once, that no older run of a job did anything after a newer one had begun, and that each completed job did its work.',
  '',
  'Each check is itself checked (`npm run test:faults`): builds with one protection taken out must be caught.',
  '`synchronous=NORMAL` instead of `FULL` by 2, an answer before the commit by 3, an outcome without its fence by 14,',
  'writes outside of a transaction by 4, a tick that is over, or events that are gone, only after the transaction of',
  'their job by 15.',
  '',
  'What a machine lacks is skipped and says so: 2 and 4 need root and the right to mount, 3 needs strace, 2 and 12 need',
  'Linux. What no run on one machine can show: disks that lie about fsync, and memory that flips.',
  '',
]

const HEAD = ['| | Fault | Expected | Seen | Rounds | Counts |', '| --: | --- | --- | --- | --: | --- |']
