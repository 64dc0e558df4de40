// The queue as a Map: what the store does with indexes and triggers, done by looking at all jobs each time.
import { type Adjustment, withAdjustment } from '../../../src/adjust.js'
import { isFinal, type JobWithPayload, type Step, transition, withCancelRequest } from '../../../src/job.js'
import { RULES } from './stage.js'

interface ModelBatch {
  refuses?: boolean
  open_by: string | null
  on_complete: string | null
  /** All that ever were in it, by their present or last status. */
  members: Map<string, string>
}

export function createModel() {
  const jobs = new Map<string, JobWithPayload>()
  const batches = new Map<string, ModelBatch>()
  /** By key: who has begun and is not final. */
  const holders = new Map<string, string>()
  /** By waiting job: those of its dependencies that have ended. */
  const settled = new Map<string, Set<string>>()

  const all = () => [...jobs.values()]
  const byRank = (a: JobWithPayload, b: JobWithPayload) => a.rank - b.rank || (a.id < b.id ? -1 : 1)

  function set(job: JobWithPayload): void {
    jobs.set(job.id, job)
    if (job.batch_id !== null) batches.get(job.batch_id)?.members.set(job.id, job.status)
    const key = job.concurrency_key
    if (key === null) return
    if (job.status === 'processing') holders.set(key, job.id)
    if (isFinal(job.status) && holders.get(key) === job.id) holders.delete(key)
  }

  /** The transition alone. */
  function step(job: JobWithPayload, what: Step, now: number): JobWithPayload | null {
    const after = transition(job, what, now, RULES)
    if (after !== null) set(after)
    return after
  }

  /** The transition, and all that follows from it. */
  function move(job: JobWithPayload, what: Step, now: number): JobWithPayload | null {
    const after = step(job, what, now)
    if (after !== null && isFinal(after.status)) follow(after, now)
    return after
  }

  function follow(ended: JobWithPayload, now: number): void {
    const queue = [ended]
    for (let on = queue.shift(); on !== undefined; on = queue.shift()) {
      const { id, status } = on
      // Who was told of its end before is not told of another one, after a rerun.
      const waiting = all().filter(
        (job) => job.status === 'waiting' && job.depends_on.includes(id) && !settled.get(job.id)?.has(id),
      )
      for (const job of waiting.sort((a, b) => (a.id < b.id ? -1 : 1))) {
        settled.get(job.id)?.add(id)
        const failed = status !== 'completed' && job.on_dependency_failure === 'fail' ? { id, status } : null
        if (failed === null && !isSettled(job)) continue
        const after = step(job, { verb: 'unblock', failed }, now)
        if (after !== null && isFinal(after.status)) queue.push(after)
      }
      endBatch(on.batch_id, now)
    }
  }

  const hasMembers = ({ members }: ModelBatch) => [...members.keys()].some((id) => jobs.has(id))
  const isSettled = ({ id, depends_on }: JobWithPayload) => depends_on.every((on) => settled.get(id)?.has(on))

  function endBatch(id: string | null, now: number): void {
    const batch = id === null ? undefined : batches.get(id)
    if (batch === undefined || batch.open_by !== null || batch.on_complete === null) return
    if ([...batch.members.values()].some((status) => !isFinal(status as JobWithPayload['status']))) return
    const last = jobs.get(batch.on_complete)
    if (last?.status === 'waiting') step(last, { verb: 'unblock', failed: null }, now)
  }

  return {
    jobs,
    batches,
    holders,
    all,
    move,
    isSettled,

    submit(added: JobWithPayload[], now: number, batch?: { id: string } & Omit<ModelBatch, 'members'>): void {
      if (batch !== undefined) batches.set(batch.id, { members: new Map(), ...batches.get(batch.id), ...batch })
      for (const job of added) set(job)
      for (const job of added) {
        const ended = job.depends_on.filter((on) => isFinal(jobs.get(on)?.status ?? 'pending'))
        settled.set(job.id, new Set(ended))
        const lost = ended.find((on) => jobs.get(on)?.status !== 'completed')
        const failed = lost !== undefined && job.on_dependency_failure === 'fail' ? jobs.get(lost) : undefined
        if (job.depends_on.length > 0 && (failed !== undefined || isSettled(job)))
          step(job, { verb: 'unblock', failed: failed ?? null }, now)
      }
      if (batch !== undefined) endBatch(batch.id, now)
    },

    closeBatch(id: string, now: number): void {
      const batch = batches.get(id)
      if (batch === undefined) return
      batch.open_by = null
      if (!hasMembers(batch) && !jobs.has(batch.on_complete ?? '')) batches.delete(id)
      endBatch(id, now)
    },

    /** What has come too late, then what is due. */
    fallDue(now: number): void {
      const late = all().filter(({ start_by }) => start_by !== null && start_by <= now)
      for (const { id } of late.sort((a, b) => Number(a.start_by) - Number(b.start_by)))
        move(jobs.get(id) as JobWithPayload, { verb: 'expire' }, now)
      for (const job of all())
        if (job.status !== 'waiting' && job.run_at !== null && job.run_at <= now) move(job, { verb: 'promote' }, now)
    },

    /** Those that may be claimed, the best first. */
    ready(types: string[]): JobWithPayload[] {
      const pending = all().filter(({ status }) => status === 'pending')
      const isFirst = ({ id, concurrency_key: key }: JobWithPayload) =>
        key === null ||
        (holders.get(key) ?? pending.filter((job) => job.concurrency_key === key).sort(byRank)[0]?.id) === id
      return pending.filter((job) => types.includes(job.type) && isFirst(job)).sort(byRank)
    },

    cancel(job: JobWithPayload, now: number): void {
      if (job.status === 'processing') set(withCancelRequest(job, 'not wanted', now))
      else if (!isFinal(job.status)) move(job, { verb: 'cancel', detail: 'not wanted' }, now)
    },

    adjust(job: JobWithPayload, change: Adjustment, now: number): JobWithPayload | null {
      const after = withAdjustment(job, change, now, RULES)
      if (after !== null) set(after)
      return after
    },

    isNeeded: (id: string): boolean => all().some((job) => !isFinal(job.status) && job.depends_on.includes(id)),

    remove({ id, batch_id }: JobWithPayload): void {
      jobs.delete(id)
      for (const [name, batch] of [...batches])
        if ((name === batch_id || batch.on_complete === id) && batch.open_by === null && !hasMembers(batch))
          batches.delete(name)
    },
  }
}

export type Model = ReturnType<typeof createModel>
