// Upkeep in bounded pieces: promotes what is due, expires what came too late, rescues what a dead node left running.
import type Database from 'better-sqlite3'
import type { Job } from '../../job.js'
import type { Due, Tick } from '../store.js'
import type { Moves } from './moves.js'
import type { Rows } from './rows.js'

/** Jobs that one transaction moves at the most, so that upkeep never holds up the event loop. */
export const UPKEEP_STEP = 500

/** Everything here runs inside a transaction that group commit began. */
export function createUpkeep(db: Database.Database, rows: Rows, moves: Moves) {
  const due = db.prepare<[number, number], { id: string }>(
    `SELECT id FROM jobs WHERE status IN ('scheduled', 'retrying') AND run_at <= ? ORDER BY run_at LIMIT ?`,
  )
  const expired = db.prepare<[number, number], { id: string }>(
    `SELECT id FROM jobs WHERE start_by IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'retrying')
       AND start_by <= ? ORDER BY start_by LIMIT ?`,
  )
  const nextDue = db.prepare<[], { at: number | null }>(
    `SELECT min(at) AS at FROM (
       SELECT min(run_at) AS at FROM jobs WHERE status IN ('scheduled', 'retrying')
       UNION ALL
       SELECT min(start_by) FROM jobs
       WHERE start_by IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'retrying'))`,
  )
  // The lock on the file means one process: a run of any other node is an orphan, and its lease needs no waiting for.
  const orphans = db.prepare<[string, number], { id: string }>(
    `SELECT id FROM jobs WHERE status = 'processing' AND node <> ? LIMIT ?`,
  )

  function moveAll(
    found: { id: string }[],
    verb: 'promote' | 'expire' | 'rescue',
    now: number,
    unblocked: Job[],
  ): Job[] {
    return found.flatMap(({ id }) => moves.move(rows.get(id) as Job, { verb }, now, unblocked) ?? [])
  }

  /** What is due by now. */
  function fallDue(now: number, unblocked: Job[] = []): Due {
    moves.goOn(now, unblocked)
    // First: what came too late is not to be promoted.
    const expirations = moveAll(expired.all(now, UPKEEP_STEP), 'expire', now, unblocked)
    return { expired: expirations, promoted: moveAll(due.all(now, UPKEEP_STEP), 'promote', now, unblocked), unblocked }
  }

  function tick(node: string, now: number): Tick {
    const unblocked: Job[] = []
    const rescued = moveAll(orphans.all(node, UPKEEP_STEP), 'rescue', now, unblocked)
    for (const id of moves.batches.orphans(node)) moves.closeBatch(id, now, unblocked)
    const answer = { rescued, ...fallDue(now, unblocked) }
    const left = moves.isBehind()
    // A full piece may have left some behind: the next one is due at once.
    return { ...answer, next_due: left || rescued.length === UPKEEP_STEP ? now : (nextDue.all()[0]?.at ?? null) }
  }

  return { fallDue, tick }
}
