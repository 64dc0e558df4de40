// Claims the best-ranked pending jobs, or one suspect alone.
import type Database from 'better-sqlite3'
import type { JobWithPayload } from '../../job.js'
import { pick } from '../../slot-shares.js'
import { type Claimed, type ClaimRequest, SUSPECT_AFTER } from '../store.js'
import type { Rows } from './rows.js'

interface Candidate {
  id: string
  type: string
  rank: number
}

/** Claims merge the heads of the runnable types' indexes: a type that may not run now is never looked at. */
export function createClaims(db: Database.Database, rows: Rows) {
  const head = db.prepare<[string, number], Candidate>(
    `SELECT id, type, rank FROM jobs WHERE type = ? AND status = 'pending' ORDER BY rank, id LIMIT ?`,
  )
  const suspects = db.prepare<[], Candidate>(
    `SELECT id, type, rank FROM jobs
     WHERE status = 'pending' AND reason = 'rescued' AND interruptions >= ${SUSPECT_AFTER} ORDER BY rank, id`,
  )

  function claim(request: ClaimRequest): Omit<Claimed, 'promoted'> {
    const { shares, slots, wary = false } = request
    const suspected = wary ? pick(suspects.all(), shares, slots.length).slice(0, 1) : []
    if (suspected.length > 0) return { claimed: take(suspected, request), suspect: true }
    const best = shares
      .flatMap(({ type, limit }) => head.all(type, Math.min(limit, slots.length)))
      .sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1))
    return { claimed: take(pick(best, shares, slots.length), request), suspect: false }
  }

  function take(candidates: Candidate[], { node, slots, now }: ClaimRequest): JobWithPayload[] {
    return candidates.flatMap(({ id }, i) => {
      const job = rows.getWithPayload(id)
      return job === null ? [] : (rows.apply(job, { verb: 'claim', node, slot: slots[i] as number }, now) ?? [])
    })
  }

  return { claim }
}
