// The latest changes of jobs, numbered, for those who watch: who was away for a moment is told what changed meanwhile.
import type { EventBus } from './events.js'
import type { Job, JsonText } from './job.js'
import { jobSummary } from './job-view.js'

export interface Change {
  seq: number
  job: Job
  /** The job as in lists; made once, when somebody wants it. */
  text(): JsonText
}

export interface JobFeed {
  /** Numbers of another epoch mean nothing here: a process begins anew. */
  epoch: string
  /** The number of the latest change. */
  last(): number
  /** Jobs that changed after that one, by their last change, oldest first; null where that is not known any more. */
  since(seq: number): { seq: number; id: string }[] | null
  /** Returns the way out. */
  subscribe(watcher: (change: Change) => void): () => void
}

/** Of each the id alone is kept: jobs that outlive their moment make the heap of a busy service grow by tens of megabytes. */
const MOST_KEPT = 1_000

export function createJobFeed(bus: EventBus, epoch: string): JobFeed {
  /** The change `seq` is at `seq % MOST_KEPT`. */
  const ids: string[] = []
  const watchers = new Set<(change: Change) => void>()
  /** By id: progress tells of no more than the number. */
  const running = new Map<string, Job>()
  let last = 0

  bus.subscribe((event) => {
    if (event.kind === 'job' || event.kind === 'cancel_requested') changed(event.job)
    if (event.kind !== 'progress') return
    const job = running.get(event.id)
    if (job?.run === event.run) changed({ ...job, progress: event.progress, progress_note: event.note })
  })

  function changed(job: Job): void {
    if (job.status === 'processing') running.set(job.id, job)
    else running.delete(job.id)
    last += 1
    ids[last % MOST_KEPT] = job.id
    if (watchers.size === 0) return
    let text: JsonText | null = null
    const change = { seq: last, job, text: () => (text ??= JSON.stringify(jobSummary(job))) }
    for (const watcher of watchers) watcher(change)
  }

  return {
    epoch,
    last: () => last,
    since(seq) {
      if (seq > last || last - seq > MOST_KEPT) return null
      const latest = new Map<string, number>()
      for (let at = seq + 1; at <= last; at += 1) {
        const id = ids[at % MOST_KEPT] as string
        // Put in anew, it comes after those that changed before.
        latest.delete(id)
        latest.set(id, at)
      }
      return [...latest].map(([id, seq]) => ({ seq, id }))
    },
    subscribe(watcher) {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
  }
}
