// The runs of this node as they were written last: to complete one, its row need not be read again.
import type { Job } from '../../job.js'
import type { Ending, ProgressReport } from '../store.js'
import type { Move } from './rows.js'

/** What others may do to a job that runs here, its row tells when it is written: it counts its runs, and knows of cancels. */
export function createOwnRuns() {
  const jobs = new Map<string, Job>()
  /** A slot has one job: those that were lost make room for the next ones. */
  const slots = new Map<number | null, string>()

  return {
    /** Where their claim is not committed after all, nobody ends these runs, and they make room for the next ones. */
    started(claimed: readonly Job[]): void {
      for (const job of claimed) {
        jobs.delete(slots.get(job.slot) ?? '')
        slots.set(job.slot, job.id)
        jobs.set(job.id, job)
      }
    },

    reported(reports: readonly ProgressReport[]): void {
      for (const { id, run, progress, note } of reports) {
        const job = jobs.get(id)
        if (job?.run === run) jobs.set(id, { ...job, progress, progress_note: note })
      }
    },

    over(endings: readonly Ending[]): void {
      // A job that was let go may run here again.
      for (const { id, run } of endings) if (jobs.get(id)?.run === run) jobs.delete(id)
    },

    /** The moves of those that complete what runs here, each job once, in the order of their ids. */
    completions(endings: readonly Ending[]): Map<Ending, Move> {
      const moves = new Map<string, [Ending, Move]>()
      for (const ending of endings) {
        const job = jobs.get(ending.id)
        if (ending.step.verb !== 'complete' || job?.run !== ending.run || moves.has(job.id)) continue
        moves.set(job.id, [ending, { job, step: ending.step, now: ending.now }])
      }
      return new Map([...moves].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, move]) => move))
    },
  }
}

export type OwnRuns = ReturnType<typeof createOwnRuns>
