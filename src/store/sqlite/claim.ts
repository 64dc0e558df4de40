// Claims the best-ranked pending jobs that may run now, or one suspect alone.
import type Database from 'better-sqlite3'
import type { JobWithPayload } from '../../job.js'
import { pick, type Share } from '../../slot-shares.js'
import { type Claimed, type ClaimRequest, SUSPECT_AFTER } from '../store.js'
import type { Moves } from './moves.js'
import { createRates } from './rates.js'
import type { Rows } from './rows.js'

interface Candidate {
  id: string
  type: string
  rank: number
}

/** Claims merge the heads of the runnable types' indexes: a type that may not run now is never looked at. */
export function createClaims(db: Database.Database, rows: Rows, moves: Moves) {
  const rates = createRates(db)
  const head = db.prepare<[string, number], Candidate>(
    `SELECT id, type, rank FROM jobs WHERE type = ? AND status = 'pending' AND held = 0 ORDER BY rank, id LIMIT ?`,
  )
  const suspects = db.prepare<[], Candidate>(
    `SELECT id, type, rank FROM jobs
     WHERE status = 'pending' AND reason = 'rescued' AND interruptions >= ${SUSPECT_AFTER} AND held = 0 ORDER BY rank, id`,
  )

  function claim(request: ClaimRequest): Pick<Claimed, 'claimed' | 'suspect' | 'next_at'> {
    const { slots, wary = false, now } = request
    const shares = request.shares.map((share) => withinRate(share, now))
    const suspected = wary ? pick(suspects.all(), shares, slots.length).slice(0, 1) : []
    const best = shares
      .filter(({ limit }) => limit > 0)
      .flatMap(({ type, limit }) => head.all(type, Math.min(limit, slots.length)))
      .sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1))
    const suspect = suspected.length > 0
    const claimed = take(suspect ? suspected : pick(best, shares, slots.length), request)
    for (const { type, rate } of shares) {
      if (rate) for (const job of claimed) if (job.type === type) rates.started(type, now)
    }
    return { claimed, suspect, next_at: nextStart(shares, now) }
  }

  function withinRate(share: Share, now: number): Share {
    if (!share.rate) return share
    rates.tidy(share.type, share.rate, now)
    const { room } = rates.room(share.type, share.rate, now)
    // What its rate leaves unused of its reserved slots stays reserved.
    return { ...share, limit: Math.min(share.limit, room) }
  }

  /** When the first of the types whose rates are used up may start a job again. */
  function nextStart(shares: readonly Share[], now: number): number | null {
    const times = shares.flatMap(({ type, rate }) => {
      if (!rate) return []
      const { room, next_at } = rates.room(type, rate, now)
      return room > 0 ? [] : [next_at]
    })
    return times.length === 0 ? null : Math.min(...times)
  }

  function take(candidates: Candidate[], { node, slots, now }: ClaimRequest): JobWithPayload[] {
    const claimed: JobWithPayload[] = []
    for (const { id } of candidates) {
      const job = rows.getWithPayload(id)
      // More may have expired at once than one piece of upkeep takes.
      if (job === null || (job.start_by !== null && job.start_by <= now)) continue
      const slot = slots[claimed.length] as number
      const after = moves.move(job, { verb: 'claim', node, slot }, now, [])
      if (after !== null) claimed.push(after)
    }
    return claimed
  }

  return { claim, rates }
}
