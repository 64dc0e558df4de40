// Every transition and what follows from it: turns of concurrency keys, jobs that waited, ends of batches.
import type { Adjustment } from '../../adjust.js'
import type { DigestRules } from '../../digests/events.js'
import { isFinal, type Job, type Step } from '../../job.js'
import { type Batches, createBatches } from './batches.js'
import type { Queries } from './connection.js'
import { createDependencies, type Dependencies } from './dependencies.js'
import { createDigests, type Digests } from './digests.js'
import { noteLeftovers } from './leftovers.js'
import type { Move, Rows } from './rows.js'
import { createSchedules, type Schedules } from './schedules.js'
import { createTurns, type Turns } from './turns.js'

/** Waiting jobs that one write tells at the most; upkeep tells the rest. */
const UNBLOCK_STEP = 500

type Ended = Pick<Job, 'id' | 'status'>

export interface Moves {
  turns: Turns
  batches: Batches
  dependencies: Dependencies
  digests: Digests
  schedules: Schedules
  /**
   * Takes the steps, in few statements however many there are; what waited for these jobs and moved with them is added
   * to `unblocked`. Null: the status of a job does not allow its step, or its row is no longer as it was said to be, which
   * may be only where the row was not locked.
   */
  move<J extends Job>(moves: readonly Move<J>[], unblocked: Job[], locked?: boolean): Promise<(J | null)[]>
  /** Pending jobs were claimed. */
  started(jobs: readonly Job[]): Promise<void>
  /** Null: it runs, or is final. */
  adjust(job: Job, change: Adjustment, now: number): Promise<Job | null>
  /** Jobs were inserted; answers them as they are then: what they were to wait for may be over. */
  inserted<J extends Job>(jobs: readonly J[], now: number): Promise<J[]>
  /** No job comes into the batch any more. */
  closeBatch(id: string, now: number, unblocked: Job[]): Promise<void>
  /**
   * Counts of batches, and what goes on with their ends: the last that a transaction does. What goes on is added to the
   * `unblocked` of the moves.
   */
  finish(): Promise<void>
  /** The transaction has not happened. */
  forget(): void
  /** Tells some of the jobs that still wait for what has ended. */
  goOn(now: number, unblocked: Job[]): Promise<void>
  /** Whether there are such jobs. */
  isBehind(): Promise<boolean>
  /** Deletes final jobs. */
  remove(jobs: readonly Job[]): Promise<void>
}

/** Everything here runs inside a transaction that group commit began. */
export function createMoves(db: Queries, rows: Rows, digestRules: readonly DigestRules[]): Moves {
  const turns = createTurns(db)
  const batches = createBatches(db)
  const dependencies = createDependencies(db)
  const digests = createDigests(db, digestRules)
  const schedules = createSchedules(db, digests)
  /** Batches that may have come to their end in this transaction, and who is to be told of what goes on then. */
  const ending = new Map<string, { now: number; unblocked: Job[] }>()

  /** The transitions themselves, the turns of their keys, and the counts of their batches. */
  async function apply<J extends Job>(moves: readonly Move<J>[], locked = true) {
    const { after, awaited } = await rows.apply(moves, locked)
    const changes = moves.flatMap(({ job: before, step }, i) => {
      const moved = after[i]
      return moved == null ? [] : [{ before, step, after: moved }]
    })
    batches.moved(changes)
    await turns.moved(changes.map(({ after }) => after))
    const again = changes.filter(({ step }) => step.verb === 'rerun')
    for (const { after } of again) await dependencies.needAgain(after)
    noteLeftovers(
      db,
      again.map(({ before }) => before),
    )
    const ended = changes.map(({ after }) => after).filter(({ status }) => isFinal(status))
    const dependent = ended.filter(({ depends_on }) => depends_on.length > 0)
    if (dependent.length > 0) await dependencies.over(dependent.map(({ id }) => id))
    for (const job of ended) {
      if (job.schedule !== null) await schedules.ended(job)
      await digests.ended(job)
    }
    return { after, awaited, ended }
  }

  /** Breadth first and bounded: a job that fails for another may fail those that wait for it in their turn. */
  async function follow(ended: readonly Ended[], now: number, unblocked: Job[]): Promise<void> {
    const queue = [...ended]
    let budget = UNBLOCK_STEP
    for (let on = queue.shift(); on !== undefined; on = queue.shift()) {
      const waiting = budget === 0 ? [] : await dependencies.dependents(on.id, budget)
      budget -= waiting.length
      for (const id of waiting) {
        const after = await unblock(id, on, now)
        if (after === null) continue
        unblocked.push(after)
        if (!isFinal(after.status)) continue
        queue.push(after)
        endBatch(after, now, unblocked)
      }
      if (budget === 0 && (await dependencies.dependents(on.id, 1)).length > 0) await dependencies.leave(on)
    }
  }

  /** The row is locked first: of two nodes that end what it waits for, the second one sees what the first one did. */
  async function unblock(id: string, on: Ended, now: number): Promise<Job | null> {
    const job = await rows.get(id)
    await dependencies.settle(id, on.id)
    if (job === null) return null
    const failed = on.status !== 'completed' && job.on_dependency_failure === 'fail' ? on : null
    if (failed === null && (await dependencies.open(id, 1)).length > 0) return null
    return one(job, { verb: 'unblock', failed }, now)
  }

  const one = async <J extends Job>(job: J, step: Step, now: number): Promise<J | null> =>
    (await apply([{ job, step, now }])).after[0] ?? null

  /** Where that was the last of its batch, the job that waits for the batch goes on, in finish(). */
  function endBatch({ batch_id }: Job, now: number, unblocked: Job[]): void {
    if (batch_id !== null) ending.set(batch_id, { now, unblocked })
  }

  async function goOnAfter(batch: string, now: number, unblocked: Job[]): Promise<void> {
    const id = await batches.ended(batch)
    const job = id === null ? null : await rows.get(id)
    const after = job?.status === 'waiting' ? await one(job, { verb: 'unblock', failed: null }, now) : null
    if (after !== null) unblocked.push(after)
  }

  async function insertedWaiting<J extends Job>(job: J, now: number): Promise<J> {
    const ended = await dependencies.add(job)
    const failed = ended.find(({ status }) => status !== 'completed' && job.on_dependency_failure === 'fail') ?? null
    if (failed === null && ended.length < job.depends_on.length) return job
    return (await one(job, { verb: 'unblock', failed }, now)) ?? job
  }

  return {
    turns,
    batches,
    dependencies,
    digests,
    schedules,

    async move(moves, unblocked, locked) {
      const { after, awaited, ended } = await apply(moves, locked)
      const now = moves.reduce((latest, move) => Math.max(latest, move.now), 0)
      for (const job of ended) endBatch(job, now, unblocked)
      if (awaited.length > 0)
        await follow(
          ended.filter(({ id }) => awaited.includes(id)),
          now,
          unblocked,
        )
      return after
    },

    async started(jobs) {
      batches.moved(jobs.map((after) => ({ before: { batch_id: after.batch_id, status: 'pending' }, after })))
      await turns.moved(jobs)
    },

    async adjust(job, change, now) {
      const after = await rows.adjust(job, change, now)
      if (after === null) return null
      batches.moved([{ before: job, after }])
      await turns.moved([after])
      return after
    },

    async inserted(jobs, now) {
      const seen: (typeof jobs)[number][] = []
      for (const job of jobs) seen.push(job.depends_on.length > 0 ? await insertedWaiting(job, now) : job)
      // Those that were unblocked had their turn.
      await turns.moved(seen.filter((job, i) => job === jobs[i]))
      return seen
    },

    async closeBatch(id, now, unblocked) {
      await batches.close(id)
      await goOnAfter(id, now, unblocked)
    },

    async finish() {
      await batches.flush()
      for (const id of [...ending.keys()].sort()) {
        const { now, unblocked } = ending.get(id) ?? { now: 0, unblocked: [] }
        ending.delete(id)
        await goOnAfter(id, now, unblocked)
      }
      // What has gone on then may be of other batches.
      await batches.flush()
      if (ending.size > 0) await this.finish()
    },
    forget() {
      ending.clear()
      batches.forget()
    },

    async goOn(now, unblocked) {
      const left = await dependencies.left(UNBLOCK_STEP)
      for (const { id } of left) await dependencies.done(id)
      if (left.length > 0) await follow(left, now, unblocked)
    },
    isBehind: async () => (await dependencies.left(1)).length > 0,

    async remove(jobs) {
      rows.remove(jobs)
      if (jobs.length > 0) await batches.removed(jobs)
    },
  }
}
