// Upkeep in bounded pieces: promotes what is due, expires what came too late, rescues what a dead node left running.
import type { Job } from '../../job.js'
import type { Due, Tick } from '../store.js'
import type { Queries } from './connection.js'
import type { Moves } from './moves.js'
import { aliveNodes, DEAD_RUNS, isSteady } from './nodes.js'
import type { Rows } from './rows.js'

/** Jobs that one transaction moves at the most. */
export const UPKEEP_STEP = 500

const OVERDUE = `start_by IS NOT NULL AND status IN ('waiting', 'scheduled', 'pending', 'retrying')`
/** By the time $1. */
export const LATE = `${OVERDUE} AND start_by <= $1`
export const DUE = `status IN ('scheduled', 'retrying') AND run_at <= $1`

/** Everything here runs inside a transaction that group commit began; what another node has locked is left to it. */
export function createUpkeep(db: Queries, rows: Rows, moves: Moves, node: string) {
  async function moveAll(jobs: readonly Job[], verb: 'promote' | 'expire' | 'rescue', now: number, unblocked: Job[]) {
    const steps = jobs.map((job) => ({ job, step: { verb }, now }))
    return (await moves.move(steps, unblocked)).filter((job) => job !== null)
  }

  /** The condition stands twice: another node may have moved a job on after it was found and before it was locked. */
  async function take(condition: string, order: 'start_by' | 'run_at', now: number): Promise<Job[]> {
    const found = `SELECT id FROM jobs WHERE ${condition} ORDER BY ${order} LIMIT $2`
    const jobs = await rows.take(`${condition} AND id IN (${found})`, [now, UPKEEP_STEP])
    return jobs.sort((a, b) => Number(a[order]) - Number(b[order]))
  }

  /** In their order, though many at once: one that others wait for ends its piece, as they may fail for it and not expire. */
  async function expireAll(late: readonly Job[], now: number, unblocked: Job[]): Promise<Job[]> {
    if (late.length === 0) return []
    const awaited = await moves.dependencies.awaited(late.map(({ id }) => id))
    const expired: Job[] = []
    for (let begin = 0; begin < late.length; ) {
      const next = late.findIndex(({ id }, i) => i >= begin && awaited.has(id))
      const end = next < 0 ? late.length : next + 1
      const ids = late.slice(begin, end).map(({ id }) => id)
      const jobs = begin === 0 ? late.slice(0, end) : await rows.lock(ids)
      expired.push(...(await moveAll(jobs, 'expire', now, unblocked)))
      begin = end
    }
    return expired
  }

  /** What is due by now; one look tells whether there is anything. */
  async function fallDue(now: number, unblocked: Job[] = []): Promise<Due> {
    const [there] = await db.all<{ left: boolean; late: boolean; due: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM unblocking) AS left, EXISTS (SELECT 1 FROM jobs WHERE ${LATE}) AS late,
         EXISTS (SELECT 1 FROM jobs WHERE ${DUE}) AS due`,
      [now],
    )
    if (there?.left) await moves.goOn(now, unblocked)
    await moves.finish()
    // First: what came too late is not to be promoted. What has just been unblocked may be either.
    const late = there?.late || unblocked.length > 0 ? await take(LATE, 'start_by', now) : []
    const expired = await expireAll(late, now, unblocked)
    const due = there?.due || unblocked.length > 0 ? await take(DUE, 'run_at', now) : []
    const promoted = await moveAll(due, 'promote', now, unblocked)
    // A batch may have come to its end, and what waited for that may be claimed next.
    if (expired.length > 0) await moves.finish()
    return { expired, promoted, unblocked }
  }

  async function tick(now: number): Promise<Tick> {
    const unblocked: Job[] = []
    const steady = await isSteady(db, node)
    const dead = steady ? await takeDead() : []
    // Asked again under the lock: another node may have rescued it, and a third one that has just come may run it by now.
    const alive = dead.length === 0 ? new Set<string>() : await aliveNodes(db)
    const lost = dead.filter(({ node }) => !alive.has(String(node)))
    const rescued = await moveAll(lost, 'rescue', now, unblocked)
    for (const id of steady ? await moves.batches.orphans() : []) await moves.closeBatch(id, now, unblocked)
    const answer = { rescued, ...(await fallDue(now, unblocked)) }
    // A full piece may have left some behind: the next one is due at once.
    const left = dead.length === UPKEEP_STEP || (await moves.isBehind())
    return { ...answer, next_due: left ? now : await nextDue() }
  }

  const takeDead = () =>
    rows.take(`${DEAD_RUNS} AND id IN (SELECT id FROM jobs WHERE ${DEAD_RUNS} LIMIT $1)`, [UPKEEP_STEP])

  async function nextDue(): Promise<number | null> {
    const [found] = await db.all<{ at: number | null }>(
      `SELECT least((SELECT min(run_at) FROM jobs WHERE status IN ('scheduled', 'retrying')),
         (SELECT min(start_by) FROM jobs WHERE ${OVERDUE})) AS at`,
    )
    return found?.at ?? null
  }

  return { fallDue, tick }
}

export type Upkeep = ReturnType<typeof createUpkeep>
