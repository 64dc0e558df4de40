// Every transition and what follows from it: turns of concurrency keys, jobs that waited, ends of batches.
import type Database from 'better-sqlite3'
import type { Adjustment } from '../../adjust.js'
import type { DigestRules } from '../../digests/events.js'
import { isFinal, type Job, type Step } from '../../job.js'
import { type Batches, createBatches } from './batches.js'
import { createDependencies, type Dependencies } from './dependencies.js'
import { createDigests, type Digests } from './digests.js'
import type { Rows } from './rows.js'
import { createSchedules, type Schedules } from './schedules.js'
import { createTurns, type Turns } from './turns.js'

/** Waiting jobs that one write tells at the most, so that no write holds up the event loop; upkeep tells the rest. */
const UNBLOCK_STEP = 500

type Ended = Pick<Job, 'id' | 'status'>

export interface Moves {
  turns: Turns
  batches: Batches
  dependencies: Dependencies
  digests: Digests
  schedules: Schedules
  /** Takes the step; what waited for the job and moved with it is added to `unblocked`. Null: its status does not allow it. */
  move<J extends Job>(before: J, step: Step, now: number, unblocked: Job[]): J | null
  /** Null: it runs, or is final. */
  adjust(job: Job, change: Adjustment, now: number): Job | null
  /** A job was inserted; answers it as it is then: what it was to wait for may be over. */
  inserted<J extends Job>(job: J, now: number): J
  /** No job comes into the batch any more. */
  closeBatch(id: string, now: number, unblocked: Job[]): void
  /** Tells some of the jobs that still wait for what has ended. */
  goOn(now: number, unblocked: Job[]): void
  /** Whether there are such jobs. */
  isBehind(): boolean
}

/** Everything here runs inside a transaction that group commit began. */
export function createMoves(db: Database.Database, rows: Rows, digestRules: readonly DigestRules[]): Moves {
  const turns = createTurns(db)
  const batches = createBatches(db)
  const dependencies = createDependencies(db)
  const digests = createDigests(db, digestRules)
  const schedules = createSchedules(db, digests)

  /** The transition itself, and the turn of its key. */
  function apply<J extends Job>(before: J, step: Step, now: number): J | null {
    const after = rows.apply(before, step, now)
    if (after === null) return null
    turns.moved(after)
    if (step.verb === 'rerun') dependencies.needAgain(after)
    if (!isFinal(after.status)) return after
    if (after.schedule !== null) schedules.ended(after)
    digests.ended(after)
    return after
  }

  /** Breadth first and bounded: a job that fails for another may fail those that wait for it in their turn. */
  function follow(ended: Ended[], now: number, unblocked: Job[]): void {
    const queue = [...ended]
    let budget = UNBLOCK_STEP
    for (let on = queue.shift(); on !== undefined; on = queue.shift()) {
      const waiting = budget === 0 ? [] : dependencies.dependents(on.id, budget)
      budget -= waiting.length
      for (const id of waiting) {
        dependencies.settle(id, on.id)
        const after = unblock(id, on, now)
        if (after === null) continue
        unblocked.push(after)
        if (!isFinal(after.status)) continue
        queue.push(after)
        endBatch(after, now, unblocked)
      }
      if (budget === 0 && dependencies.dependents(on.id, 1).length > 0) dependencies.leave(on)
    }
  }

  function unblock(id: string, on: Ended, now: number): Job | null {
    const job = rows.get(id)
    if (job === null) return null
    const failed = on.status !== 'completed' && job.on_dependency_failure === 'fail' ? on : null
    if (failed === null && dependencies.open(id, 1).length > 0) return null
    return apply(job, { verb: 'unblock', failed }, now)
  }

  /** Where that was the last of its batch, the job that waits for the batch goes on. */
  function endBatch({ batch_id }: Job, now: number, unblocked: Job[]): void {
    if (batch_id !== null) goOnAfter(batch_id, now, unblocked)
  }

  function goOnAfter(batch: string, now: number, unblocked: Job[]): void {
    const id = batches.ended(batch)
    const job = id === null ? null : rows.get(id)
    const after = job?.status === 'waiting' ? apply(job, { verb: 'unblock', failed: null }, now) : null
    if (after !== null) unblocked.push(after)
  }

  return {
    turns,
    batches,
    dependencies,
    digests,
    schedules,

    move(before, step, now, unblocked) {
      const after = apply(before, step, now)
      if (after === null || !isFinal(after.status)) return after
      endBatch(after, now, unblocked)
      follow([after], now, unblocked)
      return after
    },

    adjust(job, change, now) {
      const after = rows.adjust(job, change, now)
      if (after !== null) turns.moved(after)
      return after
    },

    inserted(job, now) {
      if (job.depends_on.length > 0) {
        const ended = dependencies.add(job)
        const failed =
          ended.find(({ status }) => status !== 'completed' && job.on_dependency_failure === 'fail') ?? null
        if (failed !== null || ended.length === job.depends_on.length)
          return apply(job, { verb: 'unblock', failed }, now) ?? job
      }
      turns.moved(job)
      return job
    },

    closeBatch(id, now, unblocked) {
      batches.close(id)
      goOnAfter(id, now, unblocked)
    },

    goOn(now, unblocked) {
      const left = dependencies.left(UNBLOCK_STEP)
      for (const { id } of left) dependencies.done(id)
      follow(left, now, unblocked)
    },
    isBehind: () => dependencies.left(1).length > 0,
  }
}
