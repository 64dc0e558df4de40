// The PostgreSQL driver: the store's verbs as pieces of transactions that they share, on any number of nodes at once.
import type { Adjustment } from '../../adjust.js'
import type { DigestRules } from '../../digests/events.js'
import { ServiceError } from '../../errors.js'
import { isFinal, type Job, type Rules } from '../../job.js'
import { StoreOpenError } from '../open-error.js'
import type { Claimed, ClaimRequest, Ending, ProgressReport, Renewal, Settled, Store, TypeDefaults } from '../store.js'
import { createBatches } from './batches.js'
import { createCancels } from './cancel.js'
import { createCluster } from './cluster.js'
import { openConnection, type Queries, TIMEOUTS, type Timeouts } from './connection.js'
import { createDigests } from './digests.js'
import { createGroupCommit } from './group-commit.js'
import { createLane } from './lane.js'
import { countsOf, createLedger, readCounts } from './ledger.js'
import { createLogs } from './logs.js'
import { createLostClaims } from './lost-claims.js'
import { migrate, refuseUnfinished } from './migrate.js'
import { registerTypes } from './outside.js'
import { createOwnRuns } from './own-runs.js'
import { readPauses, setPause } from './pauses.js'
import { createPruning } from './prune.js'
import { createReads } from './reads.js'
import { reach } from './refusals.js'
import { createRows } from './rows.js'
import { createSchedules } from './schedules.js'
import { refuseSharedSessions } from './sessions.js'
import { createStanding } from './standing.js'
import { createRecall, createSubmissions } from './submit.js'
import { UPKEEP_STEP } from './upkeep.js'
import { createVacuum } from './vacuum.js'

export interface PostgresOptions {
  /** postgres://… */
  source: string
  /** In which the tables are; it is made where it is not there. */
  schema?: string
  /** Who this is: new at every start. */
  node: string
  /** Milliseconds that a node is taken for alive after it was heard of last. */
  lease: number
  /** Milliseconds after which the server is taken for away. */
  timeouts?: Timeouts
  /** Whose events the ends of jobs are. */
  digests?: readonly DigestRules[]
  /** What applications may submit by SQL. */
  types?: readonly TypeDefaults[]
  /** Told after each transaction: how many writes shared it, and its milliseconds. */
  onCommit?(writes: number, ms: number): void
}

/** A change of large tables takes its time, and who starts beside it waits for it. */
const SETUP_TIMEOUTS: Timeouts = { connect: 3_000, statement: 1_800_000, answer: 1_801_000 }

/** What somebody has locked is waited for that long; then others go on, and it is tried again as long as a statement may take. */
const FIRST_TIMEOUTS: Timeouts = { ...TIMEOUTS, lock: 500 }
/** What the second lane cannot do at once is done in the first: nobody is to wait for it. */
const SECOND_TIMEOUTS: Timeouts = { connect: 3_000, statement: 1_500, answer: 6_000, lock: 200 }
/** Claims that are not tried at once after one before which something else came: it often comes again. */
const STEPWISE = 30

/** @throws StoreOpenError where the database cannot be used */
export async function openPostgresStore(options: PostgresOptions, rules: Rules): Promise<Store> {
  const { schema = 'jobmill', node, lease, digests = [], types = [], onCommit = () => {} } = options
  const connection = { source: options.source, schema, node, timeouts: options.timeouts }
  const timeouts = options.timeouts ?? FIRST_TIMEOUTS
  // Each is made when it is needed.
  const db = openConnection({ ...connection, timeouts })
  const reader = openConnection(connection)
  const cluster = createCluster({ connection, reader, node, lease })
  const setup = openConnection({ ...connection, timeouts: options.timeouts ?? SETUP_TIMEOUTS })
  let service: string
  try {
    await refuseSharedSessions(options.source, timeouts.connect)
    service = await migrate(setup, schema, async () => {
      await refuseUnfinished(setup, schema)
      await registerTypes(setup, types, rules)
      await cluster.enter(setup)
      return nameService(setup)
    })
    await setup.close()
  } catch (error) {
    await cluster.leave(setup)
    await setup.close()
    if (error instanceof StoreOpenError) throw error
    throw new StoreOpenError(
      `the PostgreSQL database cannot be used: ${error instanceof Error ? error.message : error}`,
    )
  }
  const [lostClaims, ownRuns] = [createLostClaims(), createOwnRuns()]
  const laneOptions = { node, rules, digests, lostClaims, ownRuns }
  const ledger = createLedger(db, node)
  const first = createLane(db, ledger, laneOptions)
  const another = openConnection({ ...connection, timeouts: options.timeouts ?? SECOND_TIMEOUTS })
  const second = createLane(another, createLedger(another, node, 1), laneOptions)
  const commits = createGroupCommit([first, second], timeouts.statement, onCommit)
  const { rows, moves, upkeep, outside } = first
  const submissions = createSubmissions(db, rows, moves, ledger)
  const cancels = createCancels(rows, moves)
  const prune = createPruning(db, rows, moves)
  const logs = createLogs(db)
  const reads = createReads(reader)
  const readRows = createRows(reader, rules, ledger)
  const recall = createRecall(reader, readRows, { batches: createBatches(reader) })
  const [readDigests, batches] = [createDigests(reader, digests), createBatches(reader)]
  const readSchedules = createSchedules(reader, readDigests)
  const standing = createStanding(reader)
  const vacuum = createVacuum(connection, reader)

  async function renew(reports: readonly ProgressReport[]): Promise<Renewal> {
    const held = await rows.report(reports)
    const ids = new Set(held.map(({ id }) => id))
    return {
      lost: reports.map(({ id }) => id).filter((id) => !ids.has(id)),
      cancel_requested: held.filter(({ cancel }) => cancel).map(({ id }) => id),
    }
  }

  async function rerun(id: string, now: number) {
    const job = await rows.get(id)
    if (job === null) return null
    const [again] = await moves.move([{ job, step: { verb: 'rerun' }, now }], [])
    return { job: again ?? job, changed: again != null }
  }

  async function adjust(id: string, change: Adjustment, now: number) {
    const job = await rows.get(id)
    if (job === null) return null
    const after = await moves.adjust(job, change, now)
    return { job: after ?? job, before: job.status, changed: after !== null }
  }

  async function remove(id: string) {
    const job = await rows.get(id)
    if (job === null) return null
    const removed = isFinal(job.status) && !(await moves.dependencies.needed([id])).has(id)
    if (removed) await moves.remove([job])
    return { job, removed }
  }

  /** Of the last claim: a node with many free slots and little to run claims few. */
  let lately = 0
  const settle = commits.beside<readonly Ending[], Settled>({
    jobsOf: ({ length }) => length,
    idsOf: (endings) => endings.map(({ id }) => id),
    work: (lane, calls) => lane.settle(calls),
    atOnce: (lane, calls) => lane.settleAtOnce(calls),
  })
  const jobsOf = ({ slots }: ClaimRequest) => Math.min(slots.length, lately)
  const claimWhole = commits.beside<ClaimRequest, Claimed>({ jobsOf, work: (lane, requests) => lane.claim(requests) })
  const claimAtOnce = commits.beside<ClaimRequest, Claimed | null>({
    jobsOf,
    work: (lane, requests) => lane.claim(requests),
    atOnce: (lane, requests) => lane.claimAtOnce(requests),
  })
  let stepwise = 0
  async function claim(request: ClaimRequest): Promise<Claimed> {
    const atOnce = stepwise > 0 ? null : await claimAtOnce(request)
    stepwise = atOnce === null && stepwise === 0 ? STEPWISE : Math.max(0, stepwise - 1)
    const answer = atOnce ?? (await claimWhole(request))
    lately = answer.claimed.length
    vacuum.claimed(lately)
    return answer
  }

  return {
    service,
    submit: (jobs, bounds, batch) => commits.write(() => submissions.submit(jobs, bounds, batch)),
    closeBatch: (id, now) =>
      commits.write(async () => {
        const unblocked: Job[] = []
        await moves.closeBatch(id, now, unblocked)
        return unblocked
      }),
    claim: (request) => lostClaims.watch(request, claim(request)),
    async renew(reports) {
      const answer = await commits.write(() => renew(reports), { ids: reports.map(({ id }) => id) })
      ownRuns.reported(reports)
      return answer
    },
    async settle(endings) {
      const answer = await settle(endings)
      ownRuns.over(endings)
      return answer
    },
    append: (notes) =>
      commits.write(
        async () => {
          for (const one of notes) logs.append(one)
        },
        { ids: notes.map(({ id }) => id) },
      ),
    checkpoint: ({ id, run }, value) => commits.write(() => logs.checkpoint(id, run, value), { ids: [id] }),
    cancel: (id, detail, now) => commits.write(() => cancels.cancel(id, detail, now), { ids: [id] }),
    cancelBatch: (id, after, detail, now) =>
      commits.write(() => cancels.cancelBatch(id, after, detail, now), { single: true }),
    adjust: (id, change, now) => commits.write(() => adjust(id, change, now), { ids: [id] }),
    rerun: (id, now) => commits.write(() => rerun(id, now), { ids: [id] }),
    remove: (id) => commits.write(() => remove(id), { ids: [id] }),
    prune: (request) => commits.write(() => prune(request), { single: true }),
    pause: (type, paused) => commits.write(() => setPause(db, type, paused)),
    pauses: () => reach(readPauses(reader)),
    tick: ({ now }) =>
      commits.write(async () => {
        await submissions.keys.expire(now, UPKEEP_STEP)
        await outside.fold()
        return upkeep.tick(now)
      }),

    putSchedule: (change) => commits.write(() => moves.schedules.put(change)),
    removeSchedule: (name, source) => commits.write(() => moves.schedules.remove(name, source)),
    addDigestEvent: (digest, event) => commits.write(() => moves.digests.add(digest, event)),
    fire: (fires, bounds) => commits.write(() => moves.schedules.fire(fires, bounds, submissions)),

    schedule: (name) => reach(readSchedules.get(name)),
    schedules: (after, limit) => reach(readSchedules.list(after, limit)),
    dueSchedules: async (now, limit) => ({
      due: await reach(readSchedules.due(now, limit)),
      next_at: await reach(readSchedules.next()),
    }),
    digest: (name) => reach(readDigests.read(name)),
    ticks: (name, limit) => reach(readSchedules.history(name, limit)),
    get: (id) => reach(reads.get(id)),
    recall: async (key, now, whole) => answered(await reach(recall(key, now, whole))),
    list: (filter, limit, before) => reach(reads.list(filter, limit, before)),
    scan: (filter, after) => reach(reads.scan(filter, after)),
    tally: (filter, after) => reach(reads.tally(filter, after)),
    attempts: (id) => reach(reads.attempts(id)),
    logs: (id, after, limit) => reach(reads.lines(id, after, limit)),
    lastCheckpoint: (id) => reach(reads.lastCheckpoint(id)),
    batch: (id) => reach(batches.get(id)),
    standing: (job, shares, now) => reach(standing(job, shares, now)),
    counts: async () => countsOf(await reach(readCounts(reader))),
    failure: () => db.trouble() ?? cluster.trouble(),
    cluster,
    async close() {
      await commits.drain()
      await vacuum.close()
      await cluster.leave(db)
      await Promise.all([db.close(), another.close(), reader.close()])
    },
  }
}

/** The first node does, where the jobs did not come from a file. */
async function nameService(setup: Queries): Promise<string> {
  await setup.run('INSERT INTO service SELECT gen_random_uuid()::text WHERE NOT EXISTS (SELECT 1 FROM service)')
  const [service] = await setup.all<{ id: string }>('SELECT id FROM service')
  return String(service?.id)
}

/** A refusal is thrown. */
function answered<T>(value: T | ServiceError): T {
  if (value instanceof ServiceError) throw value
  return value
}
