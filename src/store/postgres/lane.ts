// A connection that writes, with the verbs that may be written beside others of their kind: claims and ends of runs. All
// other verbs use the parts of the first lane.
import type { DigestRules } from '../../digests/events.js'
import type { Rules } from '../../job.js'
import type { Claimed, ClaimRequest } from '../store.js'
import { createClaim, isPlain } from './claim.js'
import type { Connection } from './connection.js'
import type { JobLedger } from './ledger.js'
import type { LostClaims } from './lost-claims.js'
import { createMoves } from './moves.js'
import { createOutside } from './outside.js'
import type { OwnRuns } from './own-runs.js'
import { createRows } from './rows.js'
import { createSettle } from './settle.js'
import { createUpkeep } from './upkeep.js'

export interface LaneOptions {
  node: string
  rules: Rules
  digests: readonly DigestRules[]
  ownRuns: OwnRuns
  lostClaims: LostClaims
}

/** Everything here runs inside a transaction that group commit began. */
export function createLane(db: Connection, ledger: JobLedger, options: LaneOptions) {
  const { node, rules, digests, ownRuns, lostClaims } = options
  const rows = createRows(db, rules, ledger)
  const moves = createMoves(db, rows, digests)
  const upkeep = createUpkeep(db, rows, moves, node)
  const outside = createOutside(db, ledger)
  const { claim, atOnce } = createClaim({ db, rows, moves, upkeep, ownRuns })

  async function claimOne(request: ClaimRequest): Promise<Claimed> {
    await lostClaims.release(request, rows, moves)
    if (outside.isDue()) await outside.fold()
    return claim(request)
  }

  return {
    db,
    ledger,
    rows,
    moves,
    upkeep,
    outside,
    finish: () => moves.finish(),
    forget: () => moves.forget(),
    lock: (ids: readonly string[]) => rows.hold(ids),
    free: (ids: readonly string[]) => rows.free(ids),
    async claim(requests: readonly ClaimRequest[]): Promise<Claimed[]> {
      const answers: Claimed[] = []
      for (const request of requests) answers.push(await claimOne(request))
      return answers
    },
    /**
     * Sends the claim, where nothing is to be done but that; otherwise null. Answers null where something else comes first.
     */
    claimAtOnce(requests: readonly ClaimRequest[]): Promise<(Claimed | null)[]> | null {
      const [request, ...others] = requests
      if (request === undefined || others.length > 0 || !isPlain(request)) return null
      if (!lostClaims.isEmpty() || outside.isDue()) return null
      return atOnce(request).then((claimed) => [claimed])
    },
    ...createSettle({ db, ledger, rows, moves, ownRuns, rules, digests }),
  }
}
