// Claims the best-ranked pending jobs that may run now, or one suspect alone.
import type { JobWithPayload } from '../../job.js'
import { pick, type Share } from '../../slot-shares.js'
import { COLUMNS, MAX_LOGS_KEPT, parseJob, parseWithPayload, type ValuesWithPayload } from '../job-row.js'
import { type Claimed, type ClaimRequest, SUSPECT_AFTER } from '../store.js'
import type { Queries } from './connection.js'
import type { Moves } from './moves.js'
import type { OwnRuns } from './own-runs.js'
import { readPauses } from './pauses.js'
import { createRates } from './rates.js'
import { type Rows, STARTED } from './rows.js'
import { DUE, LATE, type Upkeep } from './upkeep.js'
import { expect } from './write-back.js'

/** The head of a type's index, locked. More may have expired at once than one piece of upkeep takes. */
const HEAD = `FROM jobs WHERE jobs.type = share.type AND status = 'pending' AND NOT held
  AND (start_by IS NULL OR start_by > $1) ORDER BY rank, id LIMIT share.most FOR UPDATE SKIP LOCKED`
const SUSPECT = `status = 'pending' AND reason = 'rescued' AND interruptions >= ${SUSPECT_AFTER} AND NOT held`
/**
 * They are locked; their run is compared all the same: a job that runs twice is the worst that can happen. (Not their status,
 * which would bring other indexes than that of ids into question.)
 */
const TAKEN = `taken AS (UPDATE jobs SET ${STARTED}
  FROM first WHERE jobs.id = first.id AND jobs.run = first.run RETURNING jobs.*)`

/**
 * A whole claim, or an empty row where something comes first: $1 now, $2 node, $3 and $4 shares, $5 slots, $6 wary. `more`
 * is known of the heads, and `slot` the number of a slot.
 */
const whole = ({ more = '', slot = 'n' } = {}) => `WITH look AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM unblocking) OR EXISTS (SELECT 1 FROM jobs WHERE ${LATE})
      OR EXISTS (SELECT 1 FROM jobs WHERE ${DUE}) OR ($6 AND EXISTS (SELECT 1 FROM jobs WHERE ${SUSPECT})) AS more),
  heads AS MATERIALIZED (
    SELECT head.* FROM look CROSS JOIN unnest($3::text[], $4::integer[]) AS share (type, most)
      CROSS JOIN LATERAL (SELECT id, run, rank${more} ${HEAD}) AS head
    WHERE NOT more AND NOT EXISTS (SELECT 1 FROM pauses WHERE pauses.type IN ('', share.type))),
  first AS MATERIALIZED (
    SELECT id, run, ($5::integer[])[${slot}] AS slot
    FROM (SELECT *, row_number() OVER (ORDER BY rank, id) AS n FROM heads) AS best WHERE n <= cardinality($5)),
  ${TAKEN} SELECT ${COLUMNS}, payload FROM look LEFT JOIN taken ON NOT more WHERE more OR id IS NOT NULL`

const WHOLE = whole()
/** After such a job has started, nothing is left to do. */
const PLAIN = `batch_id IS NULL AND concurrency_key IS NULL AND run < ${MAX_LOGS_KEPT}`
/** It fails where one of the best is not plain. */
const AT_ONCE = whole({ more: `, ${PLAIN} AS plain`, slot: expect('plain', 'id', 'n') })

const HEADS = `SELECT head.* FROM unnest($2::text[], $3::integer[]) AS share (type, most)
  CROSS JOIN LATERAL (SELECT id, type, run, rank ${HEAD}) AS head ORDER BY rank, id`
/** The best-ranked of those that may be what brings a process down. */
const SUSPECTS = `SELECT id, type, run FROM jobs WHERE ${SUSPECT} AND type = ANY($2::text[])
  AND (start_by IS NULL OR start_by > $1) ORDER BY rank, id LIMIT 20 FOR UPDATE SKIP LOCKED`
const TAKE = `WITH first AS (SELECT * FROM unnest($3::text[], $4::integer[], $5::integer[]) AS first (id, run, slot)),
  ${TAKEN} SELECT ${COLUMNS}, payload FROM taken`

interface Candidate {
  id: string
  type: string
  run: number
}

export interface ClaimParts {
  db: Queries
  rows: Rows
  moves: Moves
  upkeep: Upkeep
  ownRuns: OwnRuns
}

const NOTHING_DUE = { expired: [], promoted: [], unblocked: [] }

/** Everything here runs inside a transaction that group commit began. */
export function createClaim({ db, rows, moves, upkeep, ownRuns }: ClaimParts) {
  const rates = createRates(db)

  async function claim(request: ClaimRequest): Promise<Claimed> {
    const claimed = isPlain(request) ? await inOneStatement(request) : null
    if (claimed !== null) return { ...NOTHING_DUE, claimed, suspect: false, next_at: null }
    const due = await upkeep.fallDue(request.now)
    const { all, types } = await readPauses(db)
    const shares = all ? [] : request.shares.filter(({ type }) => !types.includes(type))
    return { ...due, ...(await stepByStep({ ...request, shares })) }
  }

  /** Null: something else comes first. */
  async function inOneStatement(request: ClaimRequest): Promise<JobWithPayload[] | null> {
    const found = await db.values<ValuesWithPayload>(WHOLE, valuesOf(request))
    if (found[0]?.[0] === null) return null
    const jobs = taken(found)
    rows.started(jobs)
    await moves.started(jobs)
    return jobs
  }

  /** The same, where nothing is left to do but to commit it. */
  async function atOnce(request: ClaimRequest): Promise<Claimed | null> {
    const found = await db.values<ValuesWithPayload>(AT_ONCE, valuesOf(request))
    return found[0]?.[0] === null ? null : { ...NOTHING_DUE, claimed: taken(found), suspect: false, next_at: null }
  }

  async function stepByStep(request: ClaimRequest): Promise<Pick<Claimed, 'claimed' | 'suspect' | 'next_at'>> {
    const { slots, wary = false, now } = request
    await rates.lock(request.shares.flatMap(({ type, rate }) => (rate ? [type] : [])))
    const shares: Share[] = []
    for (const share of request.shares) shares.push(await withinRate(share, now))
    const suspected = wary ? pick(await suspects(shares, now), shares, slots.length).slice(0, 1) : []
    const suspect = suspected.length > 0
    const claimed = await take(suspect ? suspected : await best(shares, slots.length, now), request)
    for (const { type, rate } of shares) {
      const n = claimed.filter((job) => job.type === type).length
      if (rate && n > 0) await rates.started(type, now, n)
    }
    return { claimed, suspect, next_at: await nextStart(shares, now) }
  }

  const suspects = (shares: readonly Share[], now: number): Promise<Candidate[]> =>
    db.all(SUSPECTS, [now, shares.map(({ type }) => type)])

  async function best(shares: readonly Share[], free: number, now: number): Promise<Candidate[]> {
    if (free === 0) return []
    return pick(await db.all<Candidate>(HEADS, [now, ...arraysOf(shares, free)]), shares, free)
  }

  async function withinRate(share: Share, now: number): Promise<Share> {
    if (!share.rate) return share
    await rates.tidy(share.type, share.rate, now)
    const { room } = await rates.room(share.type, share.rate, now)
    // What its rate leaves unused of its reserved slots stays reserved.
    return { ...share, limit: Math.min(share.limit, room) }
  }

  /** When the first of the types whose rates are used up may start a job again. */
  async function nextStart(shares: readonly Share[], now: number): Promise<number | null> {
    const times: number[] = []
    for (const { type, rate } of shares) {
      const next = rate ? await rates.room(type, rate, now) : null
      if (next !== null && next.room === 0) times.push(next.next_at)
    }
    return times.length === 0 ? null : Math.min(...times)
  }

  async function take(candidates: Candidate[], { node, slots, now }: ClaimRequest): Promise<JobWithPayload[]> {
    if (candidates.length === 0) return []
    const [ids, runs] = [candidates.map(({ id }) => id), candidates.map(({ run }) => run)]
    const values = [now, node, ids, runs, slots.slice(0, ids.length)]
    const jobs = taken(await db.values<ValuesWithPayload>(TAKE, values))
    rows.started(jobs)
    await moves.started(jobs)
    return jobs
  }

  /** In the order of their ranks. */
  function taken(found: ValuesWithPayload[]): JobWithPayload[] {
    // Read again without their payloads, which takes less than to copy what was read and leave them out.
    ownRuns.started(found.map(parseJob))
    return found.map(parseWithPayload).sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1))
  }

  return { claim, atOnce }
}

/** All that is asked is who comes first. */
export const isPlain = ({ shares }: ClaimRequest) => shares.every(({ reserved, rate }) => reserved === 0 && !rate)

const valuesOf = ({ now, node, shares, slots, wary = false }: ClaimRequest): unknown[] => [
  now,
  node,
  ...arraysOf(shares, slots.length),
  slots,
  wary,
]

/** Types, and how many of each at the most. */
function arraysOf(shares: readonly Share[], free: number): [string[], number[]] {
  const open = shares.filter(({ limit }) => limit > 0)
  return [open.map(({ type }) => type), open.map(({ limit }) => Math.min(limit, free))]
}
