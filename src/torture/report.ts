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
    return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|').replace(/\s+/g, ' ')).join(' | ')} |`
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
  'nodes, does to them what the table says under the load of clients, and then checks them. What one node on SQLite',
  'promises is in [reliability.md](reliability.md).',
  '',
  'The checker is the same: clients write down what they were told of each submission, handlers append the id and run of',
  'their job to a file. When all nodes have recovered and all jobs have ended, it demands that all acknowledged jobs are',
  'stored and no refused one is, that each ended once and none failed, that no run began twice, that each completed job did',
  'its work, and that its result is that of its newest run. Runs may be rescued only from nodes that were killed, stopped or',
  'cut off: never from one that was well, and never because the database was away.',
  '',
  'What is not promised: that a run which was taken from its node does nothing any more at once. A node that was stopped, or',
  'that does not reach the database, cannot be told; its handlers go on until it is, and may do a step that a newer run does',
  'as well. That is counted (“went on unheard”, in runs), and taken for a violation where the run was not rescued from such a',
  'node. What is promised is that such a run changes nothing in jobmill: not the outcome, not the progress, not a checkpoint.',
  'The outcome is tried here, the other two by `test/store/suite/nodes.ts`. “late outcomes” are those that came all the same,',
  'also those that were sent again after a lost answer.',
  '',
  'Each check is itself checked (`npm run test:cluster`): builds with one protection taken out must be caught. A rescue before',
  'the lease is over by 1, an outcome without its fence by 2, `synchronous_commit=off` and an outcome that is not sent again',
  'by 3, a claim whose answer was lost by 4, a tick that two nodes may fire by 6, a claim without locks by 7.',
  '',
  'Where there is no PostgreSQL (from npm, or in PATH), all is skipped and says so. What no run on one machine can show:',
  'disks that lie about fsync, and a replica that takes over without the last commits.',
  '',
]

const PREFACES: Record<Driver, readonly string[]> = { sqlite3: NODE_PREFACE, postgres: CLUSTER_PREFACE }

const HEAD = ['| | Fault | Expected | Seen | Rounds | Counts |', '| --: | --- | --- | --- | --: | --- |']
