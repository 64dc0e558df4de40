// Claims whose answers were lost: what they took is let go, or it would be held by a node that does not know of it.
import { ServiceError } from '../../errors.js'
import type { ClaimRequest } from '../store.js'
import type { Moves } from './moves.js'
import type { Rows } from './rows.js'

/** For so long a COMMIT that was sent may still come to the server, which ends sessions that are silent for longer. */
const DOUBT_MS = 60_000

export type LostClaims = ReturnType<typeof createLostClaims>

export function createLostClaims() {
  let lost: { now: number; slots: readonly number[]; until: number; foundBy: ClaimRequest | null }[] = []

  return {
    /** Remembers the claim where it may have been committed all the same. */
    async watch<T>(request: ClaimRequest, claim: Promise<T>): Promise<T> {
      const { now, slots } = request
      try {
        const answer = await claim
        // Those that it found are let go of on disk.
        lost = lost.filter(({ foundBy, until }) => foundBy !== request && until > performance.now())
        return answer
      } catch (error) {
        const unknown = error instanceof ServiceError && error.code === 'outcome_unknown'
        if (unknown) lost.push({ now, slots, until: performance.now() + DOUBT_MS, foundBy: null })
        throw error
      }
    },

    isEmpty: () => lost.length === 0,

    /** Lets go of what such claims took, uncharged. Runs inside the transaction of the next claim. */
    async release(request: ClaimRequest, rows: Rows, moves: Moves): Promise<void> {
      const { node, now } = request
      for (const claim of lost) {
        const text = `status = 'processing' AND node = $1 AND started_at = $2 AND slot = ANY($3::integer[])`
        const jobs = await rows.take(text, [node, claim.now, claim.slots])
        if (jobs.length > 0) claim.foundBy = request
        else if (claim.foundBy === request) claim.foundBy = null
        const step = { verb: 'release', detail: 'the answer to its claim was lost' } as const
        await moves.move(
          jobs.map((job) => ({ job, step, now })),
          [],
        )
      }
    },
  }
}
