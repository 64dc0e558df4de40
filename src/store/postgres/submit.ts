// Takes new jobs in: keys first, then the bounds, then the rows, all or none.
import { ServiceError } from '../../errors.js'
import type { Job, JobWithPayload } from '../../job.js'
import { tagsOf, tally } from '../filters.js'
import type { Accepted, Bounds, JobKey, NewBatch, NewJob, Recalled } from '../store.js'
import type { Queries } from './connection.js'
import { createKeys } from './keys.js'
import type { JobLedger, Standings } from './ledger.js'
import type { Moves } from './moves.js'
import type { Rows } from './rows.js'

/** Everything here runs inside a transaction that group commit began. */
export function createSubmissions(db: Queries, rows: Rows, moves: Moves, ledger: JobLedger) {
  const keys = createKeys(db, rows)
  const recall = createRecall(db, rows, moves)

  async function submit(jobs: readonly NewJob[], bounds: Bounds, batch?: NewBatch): Promise<Accepted[] | ServiceError> {
    await keys.lock(jobs)
    const key = batch && jobs[0]?.keys?.find(({ kind }) => kind === 'idempotency')
    const again = key === undefined ? null : await recall(key, jobs[0]?.created_at ?? 0, true)
    if (again instanceof ServiceError) return again
    if (again !== null) return again.jobs.map((job) => ({ job, deduplicated: true }))
    const holders: (JobWithPayload | null)[] = []
    for (const job of jobs) {
      const holder = await keys.holder(job)
      if (holder instanceof ServiceError) return holder
      holders.push(holder)
    }
    const isFresh = (i: number) => holders[i] === null
    const isListed = jobs.length > 1 || batch?.open_by === null
    const fresh = jobs.filter((_, i) => isFresh(i))
    const refused = (await refusal(fresh, bounds)) ?? (await moves.dependencies.check(jobs, isFresh, isListed))
    if (refused !== null) return refused
    if (batch !== undefined && !(await moves.batches.begin(batch)))
      return new ServiceError('batch_closed', `batch ${batch.id} was cancelled, or is closed: it takes no more jobs`)
    const accepted = await add(jobs, holders, batch)
    return follow(accepted, batch)
  }

  async function add(
    jobs: readonly NewJob[],
    holders: readonly (JobWithPayload | null)[],
    batch: NewBatch | undefined,
  ): Promise<Accepted[]> {
    const added: NewJob[] = []
    const accepted: Accepted[] = []
    const keyed = new Map<string, NewJob>()
    for (const [i, job] of jobs.entries()) {
      // One before it in this submission may have taken its key.
      const names = (job.keys ?? []).map(({ kind, owner, key }) => JSON.stringify([kind, owner, key]))
      const holder = holders[i] ?? names.map((name) => keyed.get(name)).find((one) => one !== undefined) ?? null
      if (holder !== null) {
        if (batch === undefined) await keys.join(job, holder.id)
        accepted.push({ job: holder, deduplicated: true })
        continue
      }
      for (const name of names) keyed.set(name, job)
      added.push(job)
      accepted.push({ job, deduplicated: false })
    }
    await store(added)
    for (const job of added) await keys.take(job)
    // The Idempotency-Key of a batch stands with its first job, or with the first new one where that was there before.
    const [first] = added
    if (batch !== undefined && first !== undefined && accepted[0]?.deduplicated === true)
      await keys.join(jobs[0] as NewJob, first.id)
    return accepted
  }

  async function store(jobs: readonly NewJob[]): Promise<void> {
    rows.insert(jobs)
    const tags = jobs.flatMap((job) => tagsOf(job).map((tag) => ({ id: job.id, tag })))
    if (tags.length > 0)
      db.send('INSERT INTO tags SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING', [
        tags.map(({ id }) => id),
        tags.map(({ tag }) => tag),
      ])
    moves.batches.added(jobs)
  }

  /** Jobs that neither have keys nor wait for anything. */
  async function insert(jobs: readonly NewJob[]): Promise<void> {
    await store(jobs)
    for (const job of jobs) await moves.inserted([job], job.created_at)
  }

  /** What it waits for may be over; who is answered should see it so. */
  async function follow(accepted: Accepted[], batch: NewBatch | undefined): Promise<Accepted[]> {
    const fresh = accepted.flatMap(({ job, deduplicated }) => (deduplicated ? [] : [job]))
    const seen = await moves.inserted(fresh, fresh[0]?.created_at ?? 0)
    const byId = new Map(seen.map((job) => [job.id, job]))
    const unblocked: Job[] = []
    if (batch !== undefined && batch.open_by === null) await moves.closeBatch(batch.id, batch.created_at, unblocked)
    return accepted.map(({ job, deduplicated }) => {
      const now = deduplicated ? job : (byId.get(job.id) ?? job)
      return { job: { ...now, ...unblocked.find(({ id }) => id === job.id) }, deduplicated }
    })
  }

  /** To count what runs takes longer, and only where there seems to be no room it matters. */
  async function refusal(jobs: readonly JobWithPayload[], bounds: Bounds): Promise<ServiceError | null> {
    const pending = [...jobs.filter(({ status }) => status === 'pending'), ...(await moves.dependencies.ready(jobs))]
    const refused = refusalAt(await ledger.standingsAtMost(), jobs, pending, bounds)
    return refused && refusalAt(await ledger.standings(), jobs, pending, bounds)
  }

  function refusalAt(
    now: Standings,
    jobs: readonly JobWithPayload[],
    pending: readonly { type: string }[],
    bounds: Bounds,
  ): ServiceError | null {
    if (pending.length > 0 && now.pending + pending.length > bounds.max_pending)
      return full(`${now.pending} jobs are pending and worker.queue_size is ${bounds.max_pending}`)
    for (const [type, n] of bounds.max_pending_of === undefined ? [] : tally(pending, ({ type }) => type)) {
      const [there, bound] = [now.pendingOf(type), bounds.max_pending_of?.get(type)]
      if (bound !== undefined && there + n > bound)
        return full(`${there} jobs of ${type} are pending and jobs.${type}.queue_size is ${bound}`)
    }
    if (now.stored + jobs.length > bounds.max_stored)
      return full(`data.max_stored of ${bounds.max_stored} jobs that are not final is reached`)
    if (now.bytes + jobs.reduce((sum, { bytes }) => sum + bytes, 0) > bounds.max_bytes)
      return new ServiceError('storage_full', `jobs keep ${now.bytes} bytes and data.max_bytes is ${bounds.max_bytes}`)
    return null
  }

  return { submit, insert, refusal, keys }
}

/** Answers the function that finds the job of a key, and with `whole` those of its batch. */
export function createRecall(
  db: Queries,
  rows: Pick<Rows, 'getWithPayload' | 'ofBatch'>,
  moves: Pick<Moves, 'batches'>,
) {
  const { holderOf } = createKeys(db, rows)
  return async (key: JobKey, now: number, whole: boolean): Promise<Recalled | ServiceError | null> => {
    const holder = await holderOf(key, now)
    if (holder === null || holder instanceof ServiceError) return holder
    const batch_id = holder.batch_id ?? (await moves.batches.waitedFor(holder.id))
    if (!whole || batch_id === null) return { batch_id, jobs: [holder] }
    return { batch_id, jobs: await rows.ofBatch(batch_id) }
  }
}

const full = (detail: string) => new ServiceError('queue_full', detail)
