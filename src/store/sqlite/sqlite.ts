// The SQLite driver: the store's verbs as short synchronous pieces of work that group commit puts on disk together.
import type Database from 'better-sqlite3'
import { ServiceError } from '../../errors.js'
import { isFinal, JOB_STATUSES, type Job, type JobStatus, type JobWithPayload, type Rules } from '../../job.js'
import type {
  Accepted,
  Bounds,
  CancelAnswer,
  Claimed,
  Counts,
  Ending,
  JobFilter,
  NewJob,
  ProgressReport,
  Renewal,
  Store,
  Tick,
  TypeCounts,
} from '../store.js'
import { createClaims } from './claim.js'
import { createGroupCommit, type GroupCommitOptions } from './group-commit.js'
import { createKeys } from './keys.js'
import { openDatabase } from './open.js'
import { createPauses } from './pauses.js'
import { createPruning } from './prune.js'
import { createRows, type Rows } from './rows.js'
import { createScans } from './scan.js'

/** Jobs that one transaction promotes or rescues at the most, so that upkeep never holds up the event loop. */
const UPKEEP_STEP = 500

/** @throws StoreOpenError where the file cannot be used */
export function openSqliteStore(file: string, rules: Rules, options: GroupCommitOptions = {}): Store {
  const { db, close } = openDatabase(file, options.onFull)
  const commits = createGroupCommit(db, options)
  const rows = createRows(db, rules)
  const claims = createClaims(db, rows)
  const upkeep = createUpkeep(db, rows)
  const lists = createLists(db, rows)
  const scans = createScans(db)
  const prune = createPruning(db, rows)
  const keys = createKeys(db, rows)
  const pauses = createPauses(db)
  const kept = db.prepare<[], { pending: number; stored: number; bytes: number }>(
    `SELECT coalesce(sum(n) FILTER (WHERE status = 'pending'), 0) AS pending, coalesce(sum(n), 0) AS stored,
       (SELECT coalesce(sum(bytes), 0) FROM counts) AS bytes
     FROM counts WHERE status IN ('waiting', 'scheduled', 'pending', 'processing', 'retrying')`,
  )

  function submit(jobs: readonly NewJob[], bounds: Bounds): Accepted[] | ServiceError {
    const holders = jobs.map(keys.holder)
    const reused = holders.find((holder) => holder instanceof ServiceError)
    const refused =
      reused ??
      refusal(
        jobs.filter((_, i) => holders[i] === null),
        bounds,
      )
    if (refused instanceof ServiceError) return refused
    return jobs.map((job, i): Accepted => {
      // One before it in this submission may have taken its key.
      const holder = holders[i] ?? keys.holder(job)
      if (holder !== null) return { job: holder as JobWithPayload, deduplicated: true }
      rows.insert(job)
      keys.take(job)
      return { job, deduplicated: false }
    })
  }

  function refusal(jobs: readonly JobWithPayload[], bounds: Bounds): ServiceError | null {
    const pending = jobs.filter(({ status }) => status === 'pending').length
    const now = kept.all()[0] ?? { pending: 0, stored: 0, bytes: 0 }
    if (pending > 0 && now.pending + pending > bounds.max_pending) {
      return new ServiceError(
        'queue_full',
        `${now.pending} jobs are pending and worker.queue_size is ${bounds.max_pending}`,
      )
    }
    if (now.stored + jobs.length > bounds.max_stored) {
      return new ServiceError(
        'queue_full',
        `data.max_stored of ${bounds.max_stored} jobs that are not final is reached`,
      )
    }
    if (now.bytes + jobs.reduce((sum, { bytes }) => sum + bytes, 0) > bounds.max_bytes) {
      return new ServiceError('storage_full', `jobs keep ${now.bytes} bytes and data.max_bytes is ${bounds.max_bytes}`)
    }
    return null
  }

  function renew(reports: readonly ProgressReport[]): Renewal {
    const lost = reports.filter((report) => !rows.report(report)).map(({ id }) => id)
    const held = reports.map(({ id }) => id).filter((id) => !lost.includes(id))
    return { lost, cancel_requested: held.filter((id) => rows.get(id)?.cancel_requested_at !== null) }
  }

  function settle({ id, run, step, now }: Ending): Job | null {
    const job = rows.get(id)
    return job === null || job.run !== run || job.status !== 'processing' ? null : rows.apply(job, step, now)
  }

  function cancel(id: string, detail: string, now: number): CancelAnswer | null {
    const job = rows.get(id)
    if (job === null) return null
    if (isFinal(job.status)) return { job, answer: 'final' }
    if (job.status === 'processing') return { job: rows.requestCancel(job, detail, now), answer: 'requested' }
    return { job: rows.apply(job, { verb: 'cancel', detail }, now) ?? job, answer: 'cancelled' }
  }

  function rerun(id: string, now: number) {
    const job = rows.get(id)
    if (job === null) return null
    const again = rows.apply(job, { verb: 'rerun' }, now)
    return { job: again ?? job, changed: again !== null }
  }

  function remove(id: string) {
    const job = rows.get(id)
    if (job === null) return null
    const removed = isFinal(job.status)
    if (removed) rows.remove(id)
    return { job, removed }
  }

  return {
    submit: (jobs, bounds) => commits.write(() => submit(jobs, bounds)),
    claim: (request) =>
      commits.write((): Claimed => {
        const promoted = upkeep.promote(request.now)
        const { all, types } = pauses.list()
        const shares = all ? [] : request.shares.filter(({ type }) => !types.includes(type))
        return { promoted, ...claims.claim({ ...request, shares }) }
      }),
    renew: (reports) => commits.write(() => renew(reports)),
    settle: (endings) => commits.write(() => endings.map(settle)),
    cancel: (id, detail, now) => commits.write(() => cancel(id, detail, now)),
    rerun: (id, now) => commits.write(() => rerun(id, now)),
    remove: (id) => commits.write(() => remove(id)),
    prune: (request) => commits.write(() => prune(request)),
    pause: (type, paused) => commits.write(() => pauses.set(type, paused)),
    pauses: async () => pauses.list(),
    tick: ({ node, now }) =>
      commits.write(() => {
        keys.expire(now, UPKEEP_STEP)
        return upkeep.tick(node, now)
      }),

    get: async (id) => rows.getWithPayload(id),
    list: async (filter, limit, before) => lists.list(filter, limit, before),
    scan: async (filter, after) => scans.scan(filter, after),
    tally: async (filter, after) => scans.tally(filter, after),
    attempts: async (id) => rows.attempts(id),
    counts: async () => lists.counts(),
    failure: commits.failure,
    async close() {
      await commits.drain()
      if (db.open) close()
    },
  }
}

function createUpkeep(db: Database.Database, rows: Rows) {
  const due = db.prepare<[number, number], { id: string }>(
    `SELECT id FROM jobs WHERE status IN ('scheduled', 'retrying') AND run_at <= ? ORDER BY run_at LIMIT ?`,
  )
  const nextDue = db.prepare<[], { at: number | null }>(
    `SELECT min(run_at) AS at FROM jobs WHERE status IN ('scheduled', 'retrying')`,
  )
  // The lock on the file means one process: a run of any other node is an orphan, and its lease needs no waiting for.
  const orphans = db.prepare<[string, number], { id: string }>(
    `SELECT id FROM jobs WHERE status = 'processing' AND node <> ? LIMIT ?`,
  )

  function applyToAll(found: { id: string }[], verb: 'promote' | 'rescue', now: number): Job[] {
    return found.flatMap(({ id }) => rows.apply(rows.get(id) as Job, { verb }, now) ?? [])
  }

  const promote = (now: number) => applyToAll(due.all(now, UPKEEP_STEP), 'promote', now)

  function tick(node: string, now: number): Tick {
    const rescued = applyToAll(orphans.all(node, UPKEEP_STEP), 'rescue', now)
    const promoted = promote(now)
    // A full piece may have left orphans behind: the next one is due at once.
    return { rescued, promoted, next_due: rescued.length === UPKEEP_STEP ? now : (nextDue.all()[0]?.at ?? null) }
  }

  return { promote, tick }
}

function createLists(db: Database.Database, rows: Rows) {
  const newest = db.prepare<[string, number], { id: string }>(
    'SELECT id FROM jobs WHERE id < ? ORDER BY id DESC LIMIT ?',
  )
  const newestOf = db.prepare<[string, JobStatus, string, number], { id: string }>(
    'SELECT id FROM jobs WHERE type = ? AND status = ? AND id < ? ORDER BY id DESC LIMIT ?',
  )
  const now = db.prepare<[], CountRow>('SELECT type, status, n, bytes FROM counts WHERE n > 0')
  const ever = db.prepare<[], CountRow>('SELECT type, status, n, 0 AS bytes FROM totals')

  /** Every id is lower than this one. */
  const ABOVE_ALL = '\u{10ffff}'

  function list({ status = JOB_STATUSES, type }: JobFilter, limit: number, before: string | null): Job[] {
    const start = before ?? ABOVE_ALL
    if (status === JOB_STATUSES && type === undefined) return load(newest.all(start, limit))
    const pairs = now.all().filter((row) => (type === undefined || row.type === type) && status.includes(row.status))
    const heads = pairs.flatMap((pair) => newestOf.all(pair.type, pair.status, start, limit))
    return load(heads.sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, limit))
  }

  const load = (found: { id: string }[]) => found.map(({ id }) => rows.get(id) as Job)

  function counts(): Counts {
    const all: Counts = {}
    const of = (type: string): TypeCounts => (all[type] ??= { now: {}, bytes: 0, ever: {} })
    for (const { type, status, n, bytes } of now.all()) {
      of(type).now[status] = n
      of(type).bytes += bytes
    }
    for (const { type, status, n } of ever.all()) if (isFinal(status)) of(type).ever[status] = n
    return all
  }

  return { list, counts }
}

interface CountRow {
  type: string
  status: JobStatus
  n: number
  bytes: number
}
