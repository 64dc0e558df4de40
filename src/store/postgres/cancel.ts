// Cancels: of one job, and of all jobs of a batch a piece at a time.
import { isFinal, type Job } from '../../job.js'
import type { BatchCancel, CancelAnswer } from '../store.js'
import type { Moves } from './moves.js'
import type { Rows } from './rows.js'

/** Jobs of a batch that one transaction cancels at the most. */
const CANCEL_STEP = 200

/** Everything here runs inside a transaction that group commit began. */
export function createCancels(rows: Rows, moves: Moves) {
  async function cancel(id: string, detail: string, now: number, unblocked: Job[] = []): Promise<CancelAnswer | null> {
    const job = await rows.get(id)
    if (job === null) return null
    if (isFinal(job.status)) return { job, answer: 'final', unblocked }
    if (job.status === 'processing')
      return { job: await rows.requestCancel(job, detail, now), answer: 'requested', unblocked }
    const [after] = await moves.move([{ job, step: { verb: 'cancel', detail }, now }], unblocked)
    return { job: after ?? job, answer: 'cancelled', unblocked }
  }

  async function cancelBatch(id: string, after: string, detail: string, now: number): Promise<BatchCancel | null> {
    if ((await moves.batches.get(id)) === null) return null
    const found = await moves.batches.members(id, after, CANCEL_STEP)
    const next = found.length === CANCEL_STEP ? (found.at(-1) ?? null) : null
    const done: BatchCancel = { cancelled: [], requested: [], unblocked: [], next }
    // What a stream would still add to it is not wanted either.
    await moves.batches.refuse(id)
    // All of them before anything else is locked.
    await rows.lock(found)
    for (const job of found) {
      const answer = await cancel(job, detail, now, done.unblocked)
      if (answer === null) continue
      if (answer.answer !== 'final') done[answer.answer].push(answer.job)
    }
    return done
  }

  return { cancel, cancelBatch }
}
