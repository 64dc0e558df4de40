// Counts by status and type: changes are summed while a transaction runs and written once, just before it ends.
import { isFinal, type Job, type JobStatus } from '../../job.js'
import type { Counts, TypeCounts } from '../store.js'
import type { Queries } from './connection.js'
import type { Ledger } from './group-commit.js'

interface Change {
  n: number
  bytes: number
  ever: number
}

interface CountRow extends Change {
  status: JobStatus
  type: string
}

/** What there is now of all types together, and of each. */
interface Standings {
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
  /** What this transaction has changed so far, as values of `addCounts`: they are written by who asks for them. */
  take(): unknown[]
  /** With what this transaction has changed so far. */
  standings(): Promise<Standings>
}

/** The columns of `take()`, which has `part` before them. */
const CHANGES = ['status', 'type', 'n', 'bytes', 'ever'] as const
export const changesFrom = (first: number) =>
  `unnest($${first}::text[], $${first + 1}::text[], $${first + 2}::bigint[], $${first + 3}::bigint[], $${first + 4}::bigint[])
   AS changes (${CHANGES})`
/** Adds what `select` finds: rows of all columns, in the order of status and type, so that no two nodes wait for each other's. */
export const addCounts = (select: string) => `INSERT INTO counts AS c (part, ${CHANGES}) ${select}
  ON CONFLICT (part, status, type)
  DO UPDATE SET n = c.n + excluded.n, bytes = c.bytes + excluded.bytes, ever = c.ever + excluded.ever`
const FLUSH = addCounts(`SELECT $1, * FROM ${changesFrom(2)}`)

/** Parts that there are at the most: each node takes two, others may share them. */
const PARTS = 32

/** `node` names who writes: its part of the counts is its own, and so is that of its second lane. */
export function createLedger(db: Queries, node: string, lane: 0 | 1 = 0): JobLedger {
  const part = (partOf(node) + (lane * PARTS) / 2) % PARTS
  let changes = new Map<string, Change>()

  function add(status: JobStatus, type: string, n: number, bytes: number, ever = 0): void {
    const key = `${status} ${type}`
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
      add(before.status, before.type, -1, -before.bytes)
      const ends = isFinal(after.status) && before.status !== after.status
      add(after.status, after.type, 1, after.bytes, ends ? 1 : 0)
    },
    removed: ({ status, type, bytes }) => add(status, type, -1, -bytes),

    async standings() {
      const rows = [...(await readCounts(db)), ...pairs()]
      const sum = (fits: (row: CountRow) => boolean, of: 'n' | 'bytes' = 'n') =>
        rows.reduce((sum, row) => (fits(row) ? sum + row[of] : sum), 0)
      return {
        pending: sum(({ status }) => status === 'pending'),
        stored: sum(({ status }) => !isFinal(status)),
        bytes: sum(() => true, 'bytes'),
        pendingOf: (type) => sum((row) => row.status === 'pending' && row.type === type),
      }
    },

    take() {
      const rows = pairs().filter(({ n, bytes, ever }) => n !== 0 || bytes !== 0 || ever !== 0)
      rows.sort((a, b) => (a.status + a.type < b.status + b.type ? -1 : 1))
      changes = new Map()
      return [part, ...CHANGES.map((name) => rows.map((row) => row[name]))]
    },
    flush() {
      const values = this.take()
      if ((values[1] as unknown[]).length > 0) db.send(FLUSH, values)
    },
    mark: () => new Map(changes),
    forget(mark) {
      changes = mark instanceof Map ? new Map(mark) : new Map()
    },
  }
}

function partOf(node: string): number {
  let hash = 0
  for (const character of node) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 65_521
  return hash % PARTS
}

/** The sums of all parts, with the jobs that no node has counted yet. */
export function readCounts(db: Queries): Promise<CountRow[]> {
  return db.all(
    `SELECT status, type, sum(n)::bigint AS n, sum(bytes)::bigint AS bytes, sum(ever)::bigint AS ever
     FROM (SELECT status, type, n, bytes, ever FROM counts
       UNION ALL SELECT status, type, 1, bytes, 0 FROM counts_added) AS parts
     GROUP BY status, type`,
  )
}

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
