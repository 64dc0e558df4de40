// The SQLite driver: the store's verbs as short synchronous pieces of work that group commit puts on disk together.
import type { Adjustment } from '../../adjust.js'
import type { DigestRules } from '../../digests/events.js'
import { ServiceError } from '../../errors.js'
import { isFinal, type Job, type Rules } from '../../job.js'
import type { Claimed, Ending, ProgressReport, Renewal, Store } from '../store.js'
import { createCancels } from './cancel.js'
import { createClaims } from './claim.js'
import { createGroupCommit, type GroupCommitOptions } from './group-commit.js'
import { createLists } from './lists.js'
import { createLogs } from './logs.js'
import { createMoves } from './moves.js'
import { type OpenDatabase, openDatabase } from './open.js'
import { createPauses } from './pauses.js'
import { createPruning } from './prune.js'
import { createRows } from './rows.js'
import { createScans } from './scan.js'
import { createStanding } from './standing.js'
import { createSubmissions } from './submit.js'
import { refuseTransferred } from './transfer.js'
import { createUpkeep, UPKEEP_STEP } from './upkeep.js'

/** A refusal is thrown. */
function answered<T>(value: T | ServiceError): T {
  if (value instanceof ServiceError) throw value
  return value
}

export interface SqliteOptions extends GroupCommitOptions {
  /** Whose events the ends of jobs are. */
  digests?: readonly DigestRules[]
}

function openOwn(file: string, onFull?: () => void): OpenDatabase {
  const opened = openDatabase(file, onFull)
  try {
    // Under the lock, which a transfer holds while it goes on.
    refuseTransferred(opened.db.name)
    return opened
  } catch (error) {
    opened.close()
    throw error
  }
}

/** @throws StoreOpenError where the file cannot be used */
export function openSqliteStore(file: string, rules: Rules, options: SqliteOptions = {}): Store {
  const { db, close } = openOwn(file, options.onFull)
  const commits = createGroupCommit(db, options)
  const rows = createRows(db, rules)
  const moves = createMoves(db, rows, options.digests ?? [])
  const submissions = createSubmissions(db, rows, moves)
  const { submit, recall, keys } = submissions
  const { schedules, digests } = moves
  const claims = createClaims(db, rows, moves)
  const upkeep = createUpkeep(db, rows, moves)
  const cancels = createCancels(rows, moves)
  const lists = createLists(db, rows)
  const scans = createScans(db)
  const prune = createPruning(db, rows)
  const pauses = createPauses(db)
  const logs = createLogs(db)
  const standing = createStanding(db, rows, moves, claims.rates)

  function renew(reports: readonly ProgressReport[]): Renewal {
    const lost = reports.filter((report) => !rows.report(report)).map(({ id }) => id)
    const held = reports.map(({ id }) => id).filter((id) => !lost.includes(id))
    return { lost, cancel_requested: held.filter((id) => rows.get(id)?.cancel_requested_at !== null) }
  }

  function settle({ id, run, step, now }: Ending, unblocked: Job[]): Job | null {
    const job = rows.get(id)
    if (job === null || job.run !== run || job.status !== 'processing') return null
    const after = moves.move(job, step, now, unblocked)
    if (after?.status === 'completed' && run > 0) logs.forgetCheckpoint(id)
    return after
  }

  function rerun(id: string, now: number) {
    const job = rows.get(id)
    if (job === null) return null
    const again = moves.move(job, { verb: 'rerun' }, now, [])
    return { job: again ?? job, changed: again !== null }
  }

  function adjust(id: string, change: Adjustment, now: number) {
    const job = rows.get(id)
    if (job === null) return null
    const after = moves.adjust(job, change, now)
    return { job: after ?? job, before: job.status, changed: after !== null }
  }

  function remove(id: string) {
    const job = rows.get(id)
    if (job === null) return null
    const removed = isFinal(job.status) && !moves.dependencies.isNeeded(id)
    if (removed) rows.remove(id)
    return { job, removed }
  }

  return {
    service: db.prepare<[], string>('SELECT id FROM service').pluck().get() as string,
    submit: (jobs, bounds, batch) => commits.write(() => submit(jobs, bounds, batch)),
    closeBatch: (id, now) =>
      commits.write(() => {
        const unblocked: Job[] = []
        moves.closeBatch(id, now, unblocked)
        return unblocked
      }),
    claim: (request) =>
      commits.write((): Claimed => {
        const due = upkeep.fallDue(request.now)
        const { all, types } = pauses.list()
        const shares = all ? [] : request.shares.filter(({ type }) => !types.includes(type))
        return { ...due, ...claims.claim({ ...request, shares }) }
      }),
    renew: (reports) => commits.write(() => renew(reports)),
    settle: (endings) =>
      commits.write(() => {
        const unblocked: Job[] = []
        return { ended: endings.map((ending) => settle(ending, unblocked)), unblocked }
      }),
    append: (notes) => commits.write(() => notes.forEach(logs.append)),
    checkpoint: ({ id, run }, value) => commits.write(() => logs.checkpoint(id, run, value)),
    cancel: (id, detail, now) => commits.write(() => cancels.cancel(id, detail, now)),
    cancelBatch: (id, after, detail, now) => commits.write(() => cancels.cancelBatch(id, after, detail, now)),
    adjust: (id, change, now) => commits.write(() => adjust(id, change, now)),
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

    putSchedule: (change) => commits.write(() => schedules.put(change)),
    removeSchedule: (name, source) => commits.write(() => schedules.remove(name, source)),
    addDigestEvent: (digest, event) => commits.write(() => digests.add(digest, event)),
    fire: (fires, bounds) => commits.write(() => schedules.fire(fires, bounds, submissions)),

    schedule: async (name) => schedules.get(name),
    schedules: async (after, limit) => schedules.list(after, limit),
    dueSchedules: async (now, limit) => ({ due: schedules.due(now, limit), next_at: schedules.next() }),
    digest: async (name) => digests.read(name),
    ticks: async (name, limit) => schedules.history(name, limit),
    get: async (id) => rows.getWithPayload(id),
    recall: async (key, now, whole) => answered(recall(key, now, whole)),
    list: async (filter, limit, before) => lists.list(filter, limit, before),
    scan: async (filter, after) => scans.scan(filter, after),
    tally: async (filter, after) => scans.tally(filter, after),
    attempts: async (id) => rows.attempts(id),
    logs: async (id, after, limit) => logs.lines(id, after, limit),
    lastCheckpoint: async (id) => logs.lastCheckpoint(id),
    batch: async (id) => moves.batches.get(id),
    standing: async (job, shares, now) => standing(job, shares, now),
    counts: async () => lists.counts(),
    failure: commits.failure,
    cluster: null,
    async close() {
      await commits.drain()
      if (db.open) close()
    },
  }
}
