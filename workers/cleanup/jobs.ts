// Final jobs with their artifacts: deleted by the main thread, a piece at a time.
import type { JobAccess } from '../../src/define-job.js'
import type { Task } from './meter.js'

export async function cleanJobs(jobs: Pick<JobAccess, 'prune'>, { before, dry_run, meter }: Task) {
  const total = { deleted: 0, bytes: 0 }
  let cursor: string | null = null
  do {
    const piece = await jobs.prune({ finished_before: before, dry_run }, cursor)
    total.deleted += piece.jobs
    total.bytes += piece.bytes
    meter.add('jobs', piece.jobs, piece.bytes)
    await meter.step(0)
    cursor = piece.next_cursor
  } while (cursor !== null)
  await meter.unit()
  return total
}
