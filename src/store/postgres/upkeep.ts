// Upkeep in bounded pieces: promotes what is due, expires what came too late, rescues what a dead node left running.
import type { Job } from '../../job.js'
import type { Due, Tick } from '../store.js'
import type { Queries } from './connection.js'
import type { Moves } from './moves.js'
import { DEAD_RUNS } from './nodes.js'
import type { Rows } from './rows.js'

/** Jobs that one transaction moves at the most. */
export const UPKEEP_STEP = 500

const OVERDUE = `start_by IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'retrying')`

/** Everything here runs inside a transaction that group commit began; what another node has locked is left to it. */
export function createUpkeep(db: Queries, rows: Rows, moves: Moves) {
  async function moveAll(jobs: Job[], verb: 'promote' | 'expire' | 'rescue', now: number, unblocked: Job[]) {
    const steps = jobs.map((job) => ({ job, step: { verb } }))
    return (await moves.move(steps, now, unblocked)).filter((job) => job !== null)
  }

  /** What is due by now. */
  async function fallDue(now: number, unblocked: Job[] = []): Promise<Due> {
    await moves.goOn(now, unblocked)
    // First: what came too late is not to be promoted.
    const late = await rows.take(
      `id IN (SELECT id FROM jobs WHERE ${OVERDUE} AND start_by <= $1 ORDER BY start_by LIMIT $2)`,
      [now, UPKEEP_STEP],
    )
    const expired = await moveAll(late, 'expire', now, unblocked)
    const due = await rows.take(
      `id IN (SELECT id FROM jobs WHERE status IN ('scheduled', 'retrying') AND run_at <= $1 ORDER BY run_at LIMIT $2)`,
      [now, UPKEEP_STEP],
    )
    return { expired, promoted: await moveAll(due, 'promote', now, unblocked), unblocked }
  }

  async function tick(now: number): Promise<Tick> {
    const unblocked: Job[] = []
    const dead = await rows.take(`id IN (SELECT id FROM jobs WHERE ${DEAD_RUNS} LIMIT $1)`, [UPKEEP_STEP])
    const rescued = await moveAll(dead, 'rescue', now, unblocked)
    for (const id of await moves.batches.orphans()) await moves.closeBatch(id, now, unblocked)
    const answer = { rescued, ...(await fallDue(now, unblocked)) }
    // A full piece may have left some behind: the next one is due at once.
    const left = rescued.length === UPKEEP_STEP || (await moves.isBehind())
    return { ...answer, next_due: left ? now : await nextDue() }
  }

  async function nextDue(): Promise<number | null> {
    const [found] = await db.all<{ at: number | null }>(
      `SELECT least((SELECT min(run_at) FROM jobs WHERE status IN ('scheduled', 'retrying')),
         (SELECT min(start_by) FROM jobs WHERE ${OVERDUE})) AS at`,
    )
    return found?.at ?? null
  }

  return { fallDue, tick }
}
