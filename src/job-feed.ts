// The latest changes of jobs, numbered, for those who watch: who was away for a moment gets what was missed.
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
  /** What changed after that one, oldest first; null where not all of it is kept any more. */
  since(seq: number): Change[] | null
  /** Returns the way out. */
  subscribe(watcher: (change: Change) => void): () => void
}

/** Changes kept, and the bytes of payloads and results that they may hold on to. */
const MOST_KEPT = 1_000
const MOST_BYTES = 8_388_608

export function createJobFeed(bus: EventBus, epoch: string): JobFeed {
  const kept = new Map<number, Change>()
  const watchers = new Set<(change: Change) => void>()
  /** By id: progress tells of no more than the number. */
  const running = new Map<string, Job>()
  let bytes = 0
  let first = 1
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
    let text: JsonText | null = null
    const change = { seq: last, job, text: () => (text ??= JSON.stringify(jobSummary(job))) }
    kept.set(last, change)
    bytes += heldBy(job)
    while (kept.size > MOST_KEPT || bytes > MOST_BYTES) forgetFirst()
    for (const watcher of watchers) watcher(change)
  }

  function forgetFirst(): void {
    const change = kept.get(first)
    if (change !== undefined) bytes -= heldBy(change.job)
    kept.delete(first)
    first += 1
  }

  return {
    epoch,
    last: () => last,
    since(seq) {
      if (seq < first - 1 || seq > last) return null
      return Array.from({ length: last - seq }, (_, i) => kept.get(seq + 1 + i) as Change)
    },
    subscribe(watcher) {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
  }
}

const heldBy = ({ payload_bytes, result }: Job) => payload_bytes + (result?.length ?? 0)
