// Claims the best-ranked pending jobs that may run now, or one suspect alone.
import type { JobWithPayload } from '../../job.js'
import { pick, type Share } from '../../slot-shares.js'
import { type Claimed, type ClaimRequest, SUSPECT_AFTER } from '../store.js'
import type { Queries } from './connection.js'
import type { Moves } from './moves.js'
import { createRates } from './rates.js'
import { type Rows, WITH_PAYLOAD } from './rows.js'

type Answer = Pick<Claimed, 'claimed' | 'suspect' | 'next_at'>

/** The heads of the runnable types' indexes, merged: a type that may not run now is never looked at. */
const HEADS = `SELECT head.* FROM unnest($1::text[], $2::integer[]) AS share (type, most)
  CROSS JOIN LATERAL (SELECT ${WITH_PAYLOAD} FROM jobs WHERE jobs.type = share.type AND status = 'pending' AND NOT held
    ORDER BY rank, id LIMIT share.most FOR UPDATE SKIP LOCKED) AS head`

/** The best-ranked of those that may be what brings a process down. */
const SUSPECTS = `SELECT ${WITH_PAYLOAD} FROM jobs
  WHERE status = 'pending' AND reason = 'rescued' AND interruptions >= ${SUSPECT_AFTER} AND NOT held AND type = ANY($1::text[])
  ORDER BY rank, id LIMIT 20 FOR UPDATE SKIP LOCKED`

/** Everything here runs inside a transaction that group commit began. */
export function createClaims(db: Queries, rows: Rows, moves: Moves) {
  const rates = createRates(db)

  async function claim(request: ClaimRequest): Promise<Answer> {
    const { slots, wary = false, now } = request
    await rates.lock(request.shares.flatMap(({ type, rate }) => (rate ? [type] : [])))
    const shares: Share[] = []
    for (const share of request.shares) shares.push(await withinRate(share, now))
    const suspected = wary ? pick(await suspects(shares), shares, slots.length).slice(0, 1) : []
    const suspect = suspected.length > 0
    const claimed = await take(suspect ? suspected : await best(shares, slots.length), request)
    for (const { type, rate } of shares) {
      const n = claimed.filter((job) => job.type === type).length
      if (rate && n > 0) await rates.started(type, now, n)
    }
    return { claimed, suspect, next_at: await nextStart(shares, now) }
  }

  const suspects = (shares: readonly Share[]): Promise<JobWithPayload[]> =>
    rows.find(SUSPECTS, [shares.map(({ type }) => type)])

  async function best(shares: readonly Share[], free: number): Promise<JobWithPayload[]> {
    const open = shares.filter(({ limit }) => limit > 0)
    if (open.length === 0 || free === 0) return []
    const most = open.map(({ limit }) => Math.min(limit, free))
    const heads = await rows.find(HEADS, [open.map(({ type }) => type), most])
    return pick(inOrder(heads), shares, free)
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

  async function take(candidates: JobWithPayload[], { node, slots, now }: ClaimRequest): Promise<JobWithPayload[]> {
    // More may have expired at once than one piece of upkeep takes.
    const timely = candidates.filter(({ start_by }) => start_by === null || start_by > now)
    const steps = timely.map((job, i) => {
      return { job, step: { verb: 'claim', node, slot: slots[i] as number } as const, now }
    })
    return (await moves.move(steps, [])).filter((job) => job !== null)
  }

  return { claim, rates }
}

const inOrder = (jobs: JobWithPayload[]) => jobs.sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1))
