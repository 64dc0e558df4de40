// What was seen, as pages of the documentation: one of a node on SQLite, one of several nodes on PostgreSQL.
import { writeFileSync } from 'node:fs'
import { cpus, release, type } from 'node:os'
import type { Finding } from './bench.js'
import type { Driver, Row } from './torture.js'

export interface Report {
  driver: Driver
  rows: readonly Row[]
  version: string
  /** As it is written. */
  today: string
}

export function writeReport(file: string, { driver, rows, version, today }: Report): void {
  const table = rows.map((row) => {
    const { fault, finding } = row
    const seen =
      finding === null ? `not tried: ${row.missing}` : [...new Set(finding.violations)].join('; ') || 'as expected'
    const cells = [fault.number, fault.name, fault.expected, seen, finding?.rounds ?? 0, counts(finding)]
    return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`
  })
  const machine = `${type()} ${release().split('-')[0]}, ${cpus().length} cores, Node ${process.versions.node}`
  writeFileSync(
    file,
    [...PREFACES[driver], `${today}, jobmill ${version}, ${machine}:`, '', ...HEAD, ...table, ''].join('\n'),
  )
}

function counts(finding: Finding | null): string {
  const entries = Object.entries(finding?.counts ?? {}).filter(([, n]) => n > 0)
  return entries.map(([name, n]) => `${name} ${n.toLocaleString('en')}`).join(', ')
}

const NODE_PREFACE = [
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
  'Several nodes on PostgreSQL: [reliability-cluster.md](reliability-cluster.md).',
  '',
]

const CLUSTER_PREFACE = [
  '# Reliability of several nodes',
  '',
  'What jobmill promises when several nodes work on one PostgreSQL and things go wrong, and what was seen when they did.',
  '`jobmill torture --driver postgres --report FILE` writes this page: it starts a PostgreSQL of its own, with fsync, and real',
  'nodes, does to them what the table says, and then checks them. What a single node on SQLite promises is in',
  '[reliability.md](reliability.md).',
  '',
]

const PREFACES: Record<Driver, readonly string[]> = { sqlite3: NODE_PREFACE, postgres: CLUSTER_PREFACE }

const HEAD = ['| | Fault | Expected | Seen | Rounds | Counts |', '| --: | --- | --- | --- | --: | --- |']
