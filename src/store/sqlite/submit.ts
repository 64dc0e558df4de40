// Takes new jobs in: keys first, then the bounds, then the rows, all or none.
import type Database from 'better-sqlite3'
import { ServiceError } from '../../errors.js'
import type { Job, JobWithPayload } from '../../job.js'
import { tagsOf, tally } from '../filters.js'
import type { Accepted, Bounds, JobKey, NewBatch, NewJob, Recalled } from '../store.js'
import { createKeys } from './keys.js'
import type { Moves } from './moves.js'
import type { Rows } from './rows.js'

/** Everything here runs inside a transaction that group commit began. */
export function createSubmissions(db: Database.Database, rows: Rows, moves: Moves) {
  const keys = createKeys(db, rows)
  const kept = db.prepare<[], { pending: number; stored: number; bytes: number }>(
    `SELECT coalesce(sum(n) FILTER (WHERE status = 'pending'), 0) AS pending, coalesce(sum(n), 0) AS stored,
       (SELECT coalesce(sum(bytes), 0) FROM counts) AS bytes
     FROM counts WHERE status IN ('waiting', 'scheduled', 'pending', 'processing', 'retrying')`,
  )
  const pendingOf = db.prepare<[string], { n: number }>(`SELECT n FROM counts WHERE status = 'pending' AND type = ?`)
  const count = db.prepare(
    'INSERT INTO counts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n, bytes = bytes + excluded.bytes',
  )
  const members = db.prepare<[string], { id: string }>('SELECT id FROM jobs WHERE batch_id = ? ORDER BY id')
  const tag = db.prepare('INSERT INTO tags VALUES (?, ?)')

  function submit(jobs: readonly NewJob[], bounds: Bounds, batch?: NewBatch): Accepted[] | ServiceError {
    const key = batch && jobs[0]?.keys?.find(({ kind }) => kind === 'idempotency')
    const again = key === undefined ? null : recall(key, jobs[0]?.created_at ?? 0, true)
    if (again instanceof ServiceError) return again
    if (again !== null) return again.jobs.map((job) => ({ job, deduplicated: true }))
    const holders = jobs.map((job) => keys.holder(job))
    const reused = holders.find((holder) => holder instanceof ServiceError)
    if (reused instanceof ServiceError) return reused
    const fresh = jobs.filter((_, i) => holders[i] === null)
    const isListed = jobs.length > 1 || batch?.open_by === null
    const isFresh = (i: number) => holders[i] === null
    const refused = refusal(fresh, bounds) ?? moves.dependencies.check(jobs, isFresh, isListed)
    if (refused !== null) return refused
    if (batch !== undefined && !moves.batches.begin(batch))
      return new ServiceError('batch_closed', `batch ${batch.id} was cancelled, or is closed: it takes no more jobs`)
    const added: NewJob[] = []
    const accepted = jobs.map((job, i): Accepted => {
      // One before it in this submission may have taken its key.
      const holder = holders[i] ?? keys.holder(job)
      if (holder !== null) {
        if (batch === undefined) keys.join(job, (holder as JobWithPayload).id)
        return { job: holder as JobWithPayload, deduplicated: true }
      }
      add(job)
      keys.take(job)
      added.push(job)
      return { job, deduplicated: false }
    })
    // The Idempotency-Key of a batch stands with its first job, or with the first new one where that was there before.
    const [first] = added
    if (batch !== undefined && first !== undefined && accepted[0]?.deduplicated === true)
      keys.join(jobs[0] as NewJob, first.id)
    countIn(added)
    moves.batches.added(added)
    return follow(accepted, batch)
  }

  function recall(key: JobKey, now: number, whole: boolean): Recalled | ServiceError | null {
    const holder = keys.holderOf(key, now)
    if (holder === null || holder instanceof ServiceError) return holder
    const batch_id = holder.batch_id ?? moves.batches.waitedFor(holder.id)
    if (!whole || batch_id === null) return { batch_id, jobs: [holder] }
    return { batch_id, jobs: members.all(batch_id).map(({ id }) => rows.getWithPayload(id) as JobWithPayload) }
  }

  function add(job: NewJob): void {
    rows.insert(job)
    for (const text of tagsOf(job)) tag.run(job.id, text)
  }

  /** Jobs that neither have keys nor wait for anything. */
  function insert(jobs: readonly NewJob[]): void {
    for (const job of jobs) {
      add(job)
      moves.inserted(job, job.created_at)
    }
    countIn(jobs)
  }

  /** A trigger on each row would cost as much as the row. */
  function countIn(jobs: readonly Job[]): void {
    const sums = new Map<string, { job: Job; n: number; bytes: number }>()
    for (const job of jobs) {
      const key = `${job.status} ${job.type}`
      const sum = sums.get(key)
      if (sum === undefined) sums.set(key, { job, n: 1, bytes: job.bytes })
      else {
        sum.n += 1
        sum.bytes += job.bytes
      }
    }
    for (const { job, n, bytes } of sums.values()) count.run(job.status, job.type, n, bytes)
  }

  /** What it waits for may be over; who is answered should see it so. */
  function follow(accepted: Accepted[], batch: NewBatch | undefined): Accepted[] {
    const moved = accepted.map(({ job, deduplicated }) => {
      return { job: deduplicated ? job : moves.inserted(job, job.created_at), deduplicated }
    })
    if (batch === undefined || batch.open_by !== null) return moved
    const unblocked: Job[] = []
    moves.closeBatch(batch.id, batch.created_at, unblocked)
    return moved.map(({ job, ...rest }) => ({ job: { ...job, ...unblocked.find(({ id }) => id === job.id) }, ...rest }))
  }

  function refusal(jobs: readonly JobWithPayload[], bounds: Bounds): ServiceError | null {
    const pending = jobs.filter((job) => job.status === 'pending' || moves.dependencies.isReady(job))
    const now = kept.all()[0] ?? { pending: 0, stored: 0, bytes: 0 }
    if (pending.length > 0 && now.pending + pending.length > bounds.max_pending)
      return full(`${now.pending} jobs are pending and worker.queue_size is ${bounds.max_pending}`)
    for (const [type, n] of bounds.max_pending_of === undefined ? [] : tally(pending, ({ type }) => type)) {
      const [there, bound] = [pendingOf.all(type)[0]?.n ?? 0, bounds.max_pending_of?.get(type)]
      if (bound !== undefined && there + n > bound)
        return full(`${there} jobs of ${type} are pending and jobs.${type}.queue_size is ${bound}`)
    }
    if (now.stored + jobs.length > bounds.max_stored)
      return full(`data.max_stored of ${bounds.max_stored} jobs that are not final is reached`)
    if (now.bytes + jobs.reduce((sum, { bytes }) => sum + bytes, 0) > bounds.max_bytes)
      return new ServiceError('storage_full', `jobs keep ${now.bytes} bytes and data.max_bytes is ${bounds.max_bytes}`)
    return null
  }

  return { submit, insert, refusal, recall, keys }
}

const full = (detail: string) => new ServiceError('queue_full', detail)
