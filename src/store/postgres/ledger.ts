// Counts by status and type: changes are summed while a transaction runs and written once, just before it ends.
import { isFinal, type Job, type JobStatus } from '../../job.js'
import type { Counts, TypeCounts } from '../store.js'
import type { Queries } from './connection.js'
import type { Ledger } from './write-queue.js'

interface Change {
  n: number
  bytes: number
  ever: number
}

interface Running {
  type: string
  n: number
  bytes: number
}

interface CountRow extends Change {
  status: JobStatus
  type: string
}

/** What there is now of all types together, and of each. */
export interface Standings {
  pending: number
  /** Not final. */
  stored: number
  bytes: number
  pendingOf(type: string): number
}

type Counted = Pick<Job, 'status' | 'type' | 'bytes'>

export interface JobLedger extends Ledger {
  added(job: Counted): void
  /** Jobs that came by SQL. */
  counted(jobs: Omit<CountRow, 'ever'>): void
  moved(before: Counted, after: Counted): void
  removed(job: Counted): void
  /** Jobs were claimed: their counts stay, and those that run are to be counted anew. */
  claimed(): void
  /** With what this transaction has changed so far; jobs that run are among the pending ones. */
  standingsAtMost(): Promise<Standings>
  /** The same without those. To count them takes longer: it is done once a transaction. */
  standings(): Promise<Standings>
}

const CHANGES = ['status', 'type', 'n', 'bytes', 'ever'] as const
/** Rows are in the order of status and type, so that no two nodes wait for each other's. */
const FLUSH = `INSERT INTO counts AS c (part, ${CHANGES})
  SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
  ON CONFLICT (part, status, type)
  DO UPDATE SET n = c.n + excluded.n, bytes = c.bytes + excluded.bytes, ever = c.ever + excluded.ever`

/** Parts that there are at the most: each node takes two, others may share them. */
const PARTS = 32

/** `node` names who writes: its part of the counts is its own, and so is that of its second lane. */
export function createLedger(db: Queries, node: string, lane: 0 | 1 = 0): JobLedger {
  const part = (partOf(node) + (lane * PARTS) / 2) % PARTS
  let changes = new Map<string, Change>()
  /** Jobs that run, as long as this transaction starts and ends none. */
  let running: Running[] | null = null

  function add(status: JobStatus, type: string, n: number, bytes: number, ever = 0): void {
    const key = `${status === 'processing' ? 'pending' : status} ${type}`
    const known = changes.get(key) ?? { n: 0, bytes: 0, ever: 0 }
    changes.set(key, { n: known.n + n, bytes: known.bytes + bytes, ever: known.ever + ever })
  }

  const pairs = () =>
    [...changes].map(([key, change]): CountRow => {
      const at = key.indexOf(' ')
      return { status: key.slice(0, at) as JobStatus, type: key.slice(at + 1), ...change }
    })

  return {
    added: ({ status, type, bytes }) => add(status, type, 1, bytes),
    counted: ({ status, type, n, bytes }) => add(status, type, n, bytes),
    moved(before, after) {
      const same = before.status === after.status && before.bytes === after.bytes
      if (same) return
      if (before.status === 'processing' || after.status === 'processing') running = null
      add(before.status, before.type, -1, -before.bytes)
      const ends = isFinal(after.status) && before.status !== after.status
      add(after.status, after.type, 1, after.bytes, ends ? 1 : 0)
    },
    removed: ({ status, type, bytes }) => add(status, type, -1, -bytes),

    claimed() {
      running = null
    },

    async standingsAtMost() {
      const rows = [...(await readKept(db)), ...pairs()]
      const sum = (fits: (row: CountRow) => boolean, of: 'n' | 'bytes' = 'n') =>
        rows.reduce((sum, row) => (fits(row) ? sum + row[of] : sum), 0)
      return {
        pending: sum(({ status }) => status === 'pending'),
        stored: sum(({ status }) => !isFinal(status)),
        bytes: sum(() => true, 'bytes'),
        pendingOf: (type) => sum((row) => row.status === 'pending' && row.type === type),
      }
    },
    async standings() {
      const most = await this.standingsAtMost()
      running ??= await db.all<Running>(RUNNING)
      const now = running
      return {
        ...most,
        pending: now.reduce((pending, { n }) => pending - n, most.pending),
        pendingOf: (type) => most.pendingOf(type) - (now.find((one) => one.type === type)?.n ?? 0),
      }
    },

    flush() {
      const rows = pairs().filter(({ n, bytes, ever }) => n !== 0 || bytes !== 0 || ever !== 0)
      if (rows.length === 0) return
      rows.sort((a, b) => (a.status + a.type < b.status + b.type ? -1 : 1))
      db.send(FLUSH, [part, ...CHANGES.map((name) => rows.map((row) => row[name]))])
    },
    mark: () => new Map(changes),
    forget(mark) {
      running = null
      changes = mark instanceof Map ? new Map(mark) : new Map()
    },
  }
}

function partOf(node: string): number {
  let hash = 0
  for (const character of node) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 65_521
  return hash % PARTS
}

/** All parts, and the jobs that no node has counted yet. */
const KEPT = `SELECT status, type, n, bytes, ever FROM counts
  UNION ALL SELECT status, type, 1, bytes, 0 FROM counts_added`
/** A claim does not count: the jobs that run are taken out of those that are kept as pending. */
const RUNNING = `SELECT type, count(*) AS n, sum(bytes)::bigint AS bytes FROM jobs WHERE status = 'processing' GROUP BY type`
const sums = (parts: string) => `SELECT status, type, sum(n)::bigint AS n, sum(bytes)::bigint AS bytes,
  sum(ever)::bigint AS ever FROM (${parts}) AS parts GROUP BY status, type`
const [KEPT_SUMS, SUMS] = [
  sums(KEPT),
  `WITH running AS (${RUNNING}) ${sums(`${KEPT} UNION ALL SELECT 'pending', type, -n, -bytes, 0 FROM running
    UNION ALL SELECT 'processing', type, n, bytes, 0 FROM running`)}`,
]

export const readCounts = (db: Queries): Promise<CountRow[]> => db.all(SUMS)
/** As they are kept: those that run are pending there. */
export const readKept = (db: Queries): Promise<CountRow[]> => db.all(KEPT_SUMS)

export function countsOf(rows: readonly CountRow[]): Counts {
  const all: Counts = {}
  const of = (type: string): TypeCounts => (all[type] ??= { now: {}, bytes: 0, ever: {} })
  for (const { type, status, n, bytes, ever } of rows) {
    if (n > 0) {
      of(type).now[status] = n
      of(type).bytes += bytes
    }
    if (ever > 0 && isFinal(status)) of(type).ever[status] = ever
  }
  return all
}
