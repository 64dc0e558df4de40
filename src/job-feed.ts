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
  /** `onGap` is called when changes were missed, once a second at the most. Returns the way out. */
  subscribe(watcher: (change: Change) => void, onGap?: () => void): () => void
  /** Whether there is a watcher. */
  watched(): boolean
  /** There were changes that are not known here: who was away for a moment cannot be told them, who watches is to look. */
  miss(): void
}

/** Of each the id alone is kept: jobs that outlive their moment make the heap of a busy service grow by tens of megabytes. */
const MOST_KEPT = 1_000
/** Who is to look reads what there is. */
const GAP_PERIOD_MS = 1_000

export function createJobFeed(bus: EventBus, epoch: string): JobFeed {
  /** The change `seq` is at `seq % MOST_KEPT`. */
  const ids: string[] = []
  const watchers = new Map<(change: Change) => void, () => void>()
  /** Those that run on this node, by id: progress tells of no more than the number. */
  const running = new Map<string, Job>()
  let last = 0
  let gapTimer: NodeJS.Timeout | undefined
  let told_at = Number.NEGATIVE_INFINITY

  bus.subscribe((event) => {
    if (event.kind === 'job') changed(event.job, true)
    if (event.kind === 'job_elsewhere' || event.kind === 'cancel_requested') changed(event.job)
    if (event.kind === 'gap') miss()
    if (event.kind !== 'progress') return
    const job = running.get(event.id)
    if (job?.run === event.run) changed({ ...job, progress: event.progress, progress_note: event.note })
  })

  function changed(job: Job, here = false): void {
    if (job.status !== 'processing') running.delete(job.id)
    else if (here || running.has(job.id)) running.set(job.id, job)
    last += 1
    ids[last % MOST_KEPT] = job.id
    if (watchers.size === 0) return
    let text: JsonText | null = null
    const change = { seq: last, job, text: () => (text ??= JSON.stringify(jobSummary(job))) }
    for (const watcher of watchers.keys()) watcher(change)
  }

  function miss(): void {
    // Numbers from before are too old now.
    last += MOST_KEPT + 1
    if (watchers.size === 0 || gapTimer !== undefined) return
    gapTimer = setTimeout(tellGap, Math.max(0, told_at + GAP_PERIOD_MS - performance.now())).unref()
  }

  function tellGap(): void {
    gapTimer = undefined
    // So are those that were given out since it was missed.
    last += MOST_KEPT + 1
    told_at = performance.now()
    for (const onGap of watchers.values()) onGap()
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
    subscribe(watcher, onGap = () => {}) {
      watchers.set(watcher, onGap)
      return () => watchers.delete(watcher)
    },
    watched: () => watchers.size > 0,
    miss,
  }
}
