// Ends of runs: those of this node without reading their rows, all others under a lock.
import type { Job } from '../../job.js'
import type { Ending, Settled } from '../store.js'
import type { Moves } from './moves.js'
import type { OwnRuns } from './own-runs.js'
import type { Move, Rows } from './rows.js'

/** Everything here runs inside a transaction that group commit began. */
export function createSettle(rows: Rows, moves: Moves, ownRuns: OwnRuns) {
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

  /** A run ends once, also where it is told twice. */
  return async function settle(calls: readonly (readonly Ending[])[]): Promise<Settled[]> {
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
}
