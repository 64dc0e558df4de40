// Ends of runs: those of this node without reading their rows, all others under a lock.
import { type DigestRules, isEventOf } from '../../digests/events.js'
import { type Job, type Rules, transition } from '../../job.js'
import type { Ending, Settled } from '../store.js'
import type { Queries } from './connection.js'
import type { JobLedger } from './ledger.js'
import type { Moves } from './moves.js'
import type { OwnRuns } from './own-runs.js'
import type { Move, Rows } from './rows.js'
import { type Change, completeAll } from './write-back.js'

export interface SettleParts {
  db: Queries
  ledger: JobLedger
  rows: Rows
  moves: Moves
  ownRuns: OwnRuns
  rules: Rules
  digests: readonly DigestRules[]
}

/** Everything here runs inside a transaction that group commit began. */
export function createSettle({ db, ledger, rows, moves, ownRuns, rules, digests }: SettleParts) {
  async function lockRuns(endings: readonly Ending[]): Promise<Map<Ending, Move>> {
    const found = new Map((await rows.lock(endings.map(({ id }) => id))).map((job) => [job.id, job]))
    const taken = new Map<Ending, Move>()
    for (const ending of endings) {
      const job = found.get(ending.id)
      if (job?.run !== ending.run || job.status !== 'processing') continue
      taken.set(ending, { job, step: ending.step, now: ending.now })
      found.delete(ending.id)
    }
    return taken
  }

  /** Nothing follows from its end but what its row says, as far as that row tells. */
  const isAlone = (job: Job) =>
    job.batch_id === null &&
    job.concurrency_key === null &&
    job.schedule === null &&
    job.depends_on.length === 0 &&
    !digests.some((digest) => isEventOf(digest, job))

  /**
   * Sends what completes runs of this node; null where any of these is something else. It fails where another node has done
   * something to one of the jobs, or something waits for it: then they are settled one step after the other.
   */
  function settleAtOnce(calls: readonly (readonly Ending[])[]): Settled[] | null {
    const taken = ownRuns.completions(calls.flat())
    if (taken.size < calls.flat().length) return null
    const ended = new Map<Ending, Change>()
    for (const [ending, { job: before, step, now }] of taken) {
      const after = transition(before, step, now, rules)
      if (after?.status !== 'completed' || !isAlone(after)) return null
      ended.set(ending, { before, after })
    }
    for (const [text, values] of completeAll([...ended.values()])) db.send(text, values)
    for (const { before, after } of ended.values()) ledger.moved(before, after)
    return calls.map((endings) => ({ ended: endings.map((one) => ended.get(one)?.after ?? null), unblocked: [] }))
  }

  /** A run ends once, also where it is told twice. */
  async function settle(calls: readonly (readonly Ending[])[]): Promise<Settled[]> {
    const unblocked: Job[] = []
    const ended = new Map<Ending, Job | null>()
    const end = async (taken: Map<Ending, Move>, locked: boolean) => {
      const after = taken.size === 0 ? [] : await moves.move([...taken.values()], unblocked, locked)
      for (const [i, ending] of [...taken.keys()].entries()) if (after[i]) ended.set(ending, after[i])
    }
    await end(ownRuns.completions(calls.flat()), false)
    const rest = calls.flat().filter((ending) => !ended.has(ending))
    if (rest.length > 0) await end(await lockRuns(rest), true)
    // What else moved is told after all of them.
    return calls.map((endings, i) => ({
      ended: endings.map((ending) => ended.get(ending) ?? null),
      unblocked: i === calls.length - 1 ? unblocked : [],
    }))
  }

  return { settle, settleAtOnce }
}
