// What the core asks of a database: narrow, guarded, batched writes. test/store/conformance.ts holds every driver to it.
import type { Adjustment } from '../adjust.js'
import type { DigestContent, DigestCut, DigestEvent, DigestRules } from '../digests/events.js'
import type { ErrorRecord } from '../errors.js'
import type { FinalStatus, Job, JobStatus, JobWithPayload, JsonText, Step } from '../job.js'
import type { Totals } from '../schedules/totals.js'
import type { Share } from '../slot-shares.js'
import type { Cluster } from './cluster.js'

/**
 * Every write is compare-and-set on (id, status, run) and durable when its promise resolves. The caller makes ids and
 * the store never invents any, so a write whose answer was lost can be sent again. `now` is milliseconds since 1970.
 *
 * Writes reject with a ServiceError: `storage_full` (nothing was written), `store_busy` (nothing was written),
 * `outcome_unknown` (the commit failed: it may or may not be on disk).
 */
export interface Store {
  /** Whose jobs these are: the same on all nodes, since the database was made, and where it was moved. */
  readonly service: string
  /**
   * Stores new jobs, all or none; one with a key that another job has is answered with that one instead. Rejects with
   * `queue_full` or, for `max_bytes`, `storage_full` where there is no room for the others, with
   * `idempotency_key_reused`, `job_deleted` and `unknown_dependency`. Answers come in the order of the jobs. With `batch` that one
   * is made, or goes on where it is open; its jobs name it themselves.
   */
  submit(jobs: readonly NewJob[], bounds: Bounds, batch?: NewBatch): Promise<Accepted[]>
  /** No job comes into the batch any more. Answers the job that waited for its end where that is now. */
  closeBatch(id: string, now: number): Promise<Job[]>
  /** Promotes and expires what is due, then claims the best-ranked pending jobs that `shares` allow, one for each of `slots` at most. */
  claim(request: ClaimRequest): Promise<Claimed>
  /** Stores progress of running jobs, and tells which of them are not to go on. */
  renew(reports: readonly ProgressReport[]): Promise<Renewal>
  /** Ends runs. Answers in order: the job after the step, or null where the run is over already and nothing changed. */
  settle(endings: readonly Ending[]): Promise<Settled>
  /** Adds log lines to runs, also to those that are over; those of the latest 10 runs of a job are kept. */
  append(notes: readonly RunNotes[]): Promise<void>
  /** Keeps a value for the runs after this one, until the job is completed. False: this run is over. */
  checkpoint(run: { id: string; run: number }, value: JsonText): Promise<boolean>
  /** Cancels a job that does not run; stores the request where it does; leaves a final one as it is. Null: no such job. */
  cancel(id: string, detail: string, now: number): Promise<CancelAnswer | null>
  /**
   * Does so with jobs of a batch, a bounded piece of them, those with ids above `after`; an open one takes no more from now
   * on. Null: no such batch.
   */
  cancelBatch(id: string, after: string, detail: string, now: number): Promise<BatchCancel | null>
  /** Changes when a job runs that is not running, nor final; `changed` tells whether. Null: no such job. */
  adjust(id: string, change: Adjustment, now: number): Promise<{ job: Job; before: JobStatus; changed: boolean } | null>
  /** Makes a final job pending again. `changed` is false where it is not final. Null: no such job. */
  rerun(id: string, now: number): Promise<{ job: Job; changed: boolean } | null>
  /** Deletes a final job with its attempts. `removed` is false where it is not final, or needed. Null: no such job. */
  remove(id: string): Promise<{ job: Job; removed: boolean } | null>
  /**
   * Deletes final jobs that are too many or too old, a bounded piece of them, those that ended first going first; none
   * that a job which is not final depends on.
   */
  prune(request: PruneRequest): Promise<Pruned>
  /** Pauses a type, or all with null, or lifts that pause: jobs of a paused type are not claimed. Answers all pauses. */
  pause(type: string | null, paused: boolean): Promise<Pauses>
  pauses(): Promise<Pauses>
  /** Upkeep that is due, a bounded piece of it: safe to call on any node at any time. */
  tick(request: { node: string; now: number }): Promise<Tick>

  /** Puts a schedule in place of what it was when it was read. Answers it as it is then; null: it has changed meanwhile. */
  putSchedule(change: ScheduleChange): Promise<Schedule | null>
  /** Forgets a schedule and its ticks. False: there is none of that source. */
  removeSchedule(name: string, source: Schedule['source']): Promise<boolean>
  /**
   * Records ticks and stores their jobs, each tick once and in one transaction. Answers those that took effect: others
   * were fired or changed by somebody else since they were read.
   */
  fire(fires: readonly Fire[], bounds: Bounds): Promise<Fired[]>
  /** False: its events take `max_bytes` already. Ends of jobs are added in the write that ends them. */
  addDigestEvent(digest: DigestRules, event: DigestEvent): Promise<boolean>

  schedule(name: string): Promise<Schedule | null>
  /** By name, those after `after`. */
  schedules(after: string, limit: number): Promise<Schedule[]>
  /** Those that have a tick by `now`, the earliest first, and when the next one of all is. */
  dueSchedules(now: number, limit: number): Promise<{ due: Schedule[]; next_at: number | null }>
  /** What waits for the next mail of a digest, oldest first. */
  digest(name: string): Promise<DigestContent>
  /** Its ticks, newest first; the latest 1,000 are kept. */
  ticks(name: string, limit: number): Promise<TickRecord[]>
  get(id: string): Promise<JobWithPayload | null>
  /**
   * The job that came with this Idempotency-Key, or with `whole` all of its batch but for the one that waits for its
   * end; null: none did. Rejects with `idempotency_key_reused` and `job_deleted`.
   */
  recall(key: JobKey, now: number, whole: boolean): Promise<Recalled | null>
  /** Newest first, those before `before` (a job id) where it is given. Looks at a bounded piece of them. */
  list(filter: JobFilter, limit: number, before: string | null): Promise<JobPage>
  /** Jobs with ids above `after`, in the order of their ids: looks at a bounded piece of them, so it may find none. */
  scan(filter: ScanFilter, after: string): Promise<{ jobs: JobWithPayload[]; next: string | null }>
  /** Counts what `scan` would find, a larger piece at a time. */
  tally(filter: ScanFilter, after: string): Promise<{ jobs: number; bytes: number; next: string | null }>
  /** The runs of a job, oldest first; the latest 100 are kept. */
  attempts(id: string): Promise<Attempt[]>
  /** Log lines of a job, oldest first, those after `after`. */
  logs(id: string, after: { run: number; line: number }, limit: number): Promise<LogLine[]>
  /** What the last run left that left anything; null where there is none, and once the job was completed. */
  lastCheckpoint(id: string): Promise<JsonText | null>
  batch(id: string): Promise<Batch | null>
  /** What stands before a job that has not begun. `shares` are the types whose jobs compete with it. */
  standing(job: Job, shares: readonly Share[], now: number): Promise<Standing>
  /** Costs the same however many jobs there are. */
  counts(): Promise<Counts>
  /** Why the store cannot be trusted with writes, or null while it can. */
  failure(): string | null
  /** Who else works on it; null: nobody can. */
  readonly cluster: Cluster | null
  /** Commits what was asked for before, then lets go of the database. */
  close(): Promise<void>
}

export interface NewJob extends JobWithPayload {
  keys?: readonly JobKey[]
}

/** Names the job for submissions that come after it. */
export interface JobKey {
  /** `idempotency`: taken until it expires. `unique`: until it has expired and its job is final. */
  kind: 'idempotency' | 'unique'
  /** Keys of different owners never meet: the name of an API key, a job type. */
  owner: string
  key: string
  /** Who comes with another one is refused. */
  fingerprint: string | null
  /** Milliseconds since 1970. */
  expires_at: number
}

/** What a job of a type gets where its submission says nothing, and what its payload may take. */
export interface TypeDefaults {
  name: string
  timeout_ms: number
  retry_count: number
  /** Bytes. */
  max_payload: number
}

export interface Accepted {
  job: JobWithPayload
  /** Whether it was there before. */
  deduplicated: boolean
}

/** Times are milliseconds since 1970. */
export interface Schedule {
  name: string
  /** Who defined it, and may change it. */
  source: 'config' | 'http'
  /** As it was put. */
  document: JsonText
  /** Where a grid without `start_at` begins: when this timing was first put. */
  anchor: number
  created_at: number
  /** Raised at every change: who changes it names the one that it read. */
  updated_at: number
  paused_at: number | null
  /** The next tick, or the one that would be while it is paused; null: there is none, or not before a run has ended. */
  next_at: number | null
  /** Milliseconds from the end of a run to the next tick; null: ticks do not wait for runs. */
  delay: number | null
  /** Null before the first run has ended. */
  totals: Totals | null
}

export interface ScheduleChange {
  /** What was read; null: there was none. */
  before: Pick<Schedule, 'updated_at' | 'next_at'> | null
  /** Its totals stay what they are. */
  after: Omit<Schedule, 'totals'>
  /** What its ticks came to meanwhile. */
  skipped?: TickRecord | null
}

export interface TickRecord {
  tick_at: number
  /** The last tick of a span that is one record; otherwise the same as `tick_at`. */
  until: number
  /** A person asked for it, at that time. */
  asked: boolean
  /** Null: it did not run. */
  job_id: string | null
  /** Why it ran, or did not, in one word. */
  reason: string
}

/** What becomes of a schedule that was read. */
export interface Fire {
  name: string
  updated_at: number
  /** The tick that was next; null: a person asked, and the next tick stays. */
  from: number | null
  /** `after_run`: its delay counts from the end of its run. */
  next_at: number | null | 'after_run'
  /** Whether a job is made while another one of the schedule is not final. */
  queue: boolean
  /**
   * Oldest first; those with a job run where there is room. `takes` are the events that the job is a mail of: they go
   * with it, and nothing takes effect where some of them are gone.
   */
  ticks: (TickRecord & { job: NewJob | null; takes?: DigestCut | null })[]
  now: number
}

export interface Fired {
  name: string
  jobs: NewJob[]
  /** The ticks that had no record before. */
  ticks: TickRecord[]
}

export interface Recalled {
  batch_id: string | null
  jobs: JobWithPayload[]
}

export interface NewBatch {
  id: string
  created_at: number
  /** The node that will add further jobs; null: these are all. */
  open_by: string | null
  /** Which of the jobs waits for the end of all others. */
  on_complete: string | null
}

export interface Batch {
  id: string
  created_at: number
  /** Whether further jobs may come. */
  open: boolean
  on_complete: string | null
  /** All that there ever were, by status. */
  jobs: Record<JobStatus, number>
}

export interface BatchCancel {
  cancelled: Job[]
  /** Those that run, and will be stopped. */
  requested: Job[]
  unblocked: Job[]
  /** The id to go on after; null: all were reached. */
  next: string | null
}

export interface Bounds {
  /** Jobs that may be pending, this submission included, where it adds to them. */
  max_pending: number
  /** The same for single types. */
  max_pending_of?: ReadonlyMap<string, number>
  /** Jobs that may be not final, this submission included. */
  max_stored: number
  /** What payloads, results and artifacts of all jobs may take, this submission included. */
  max_bytes: number
}

export interface ClaimRequest {
  node: string
  shares: readonly Share[]
  slots: readonly number[]
  now: number
  /** Where suspects are pending, claims the best-ranked of them and nothing else. Left out: no. */
  wary?: boolean
}

/** A job that a crash brought back, after so many interruptions, may be what brings the process down. */
export const SUSPECT_AFTER = 2

/** What moved because its time had come, and what moved with it. */
export interface Due {
  expired: Job[]
  promoted: Job[]
  /** They waited for jobs that are final now. */
  unblocked: Job[]
}

export interface Claimed extends Due {
  claimed: JobWithPayload[]
  /** Whether the claimed job is a suspect, which should run alone for a while. */
  suspect: boolean
  /** When a type whose rate is used up may start a job again, or null. */
  next_at: number | null
}

/** The pause of all types and those of single ones are lifted each by itself. */
export interface Pauses {
  all: boolean
  types: string[]
}

export interface ProgressReport {
  id: string
  run: number
  progress: number
  note: string | null
  at: number
}

export interface Renewal {
  /** Ids of those that this run no longer holds. */
  lost: string[]
  /** Ids of those whose cancel was asked for. */
  cancel_requested: string[]
}

export interface Ending {
  id: string
  run: number
  step: Step
  now: number
}

export interface Settled {
  /** In the order of the endings: the job after the step, or null where its run was over. */
  ended: (Job | null)[]
  unblocked: Job[]
}

export interface RunNotes {
  id: string
  run: number
  lines: { at: number; message: string }[]
}

export interface LogLine {
  run: number
  /** From 1, in each run. */
  line: number
  at: number
  message: string
}

export interface Standing {
  /** Jobs that go before it, counted up to 1,000. */
  ahead: number
  /** Who has the job's concurrency key, where it is another. */
  key_holder: Pick<Job, 'id' | 'status'> | null
  /** The first of the jobs that it waits for. */
  open_dependencies: string[]
  /** The batch that it waits for the end of. */
  batch: Batch | null
  /** When the rate of its type lets the next job start; null: now. */
  rate_next_at: number | null
}

export interface CancelAnswer {
  job: Job
  unblocked: Job[]
  /** `requested`: it runs, and will be stopped. `final`: it had ended before. */
  answer: 'cancelled' | 'requested' | 'final'
}

export interface Tick extends Due {
  rescued: Job[]
  /** When the next upkeep is due (`now` or before where a piece is left to do), or null. */
  next_due: number | null
}

export interface PruneRequest {
  status: readonly FinalStatus[]
  /** These types, or all types but these. */
  types: { only: readonly string[] } | { except: readonly string[] }
  /** Those that ended before are deleted; null: none for its age. */
  finished_before: number | null
  /** What may be kept of all these types together; what is above it is deleted. Null: no bound. */
  max_count: number | null
  max_bytes: number | null
  /** At most so many in this piece. */
  limit: number
}

export interface Pruned {
  ids: string[]
  bytes: number
  /** The runs of those that had artifacts: their files are for the caller to remove. */
  artifacts: { id: string; run: number }[]
  /** Whether there may be more to delete now. */
  more: boolean
}

export interface ScanFilter {
  status?: readonly JobStatus[] | undefined
  type?: string | undefined
  /** Milliseconds since 1970: created at or after, created before, ended before. */
  created_from?: number | undefined
  created_before?: number | undefined
  finished_before?: number | undefined
}

export interface JobFilter {
  status?: readonly JobStatus[] | undefined
  type?: string | undefined
  /** "key:value". */
  tag?: string | undefined
  batch?: string | undefined
  /** Milliseconds since 1970. */
  created_after?: number | undefined
  /** Only ids from here on: with `created_after` it bounds how far back is looked. */
  from_id?: string | undefined
}

export interface JobPage {
  jobs: Job[]
  /** Where the next page starts; null: there is none. It may be there although this page is not full. */
  next: string | null
}

export interface Attempt {
  run: number
  attempt: number
  node: string
  slot: number
  started_at: number
  finished_at: number | null
  /** The verb that ended the run; null while it goes on. */
  outcome: 'complete' | 'retry' | 'fail' | 'cancel' | 'snooze' | 'release' | 'rescue' | null
  /** Why it ended: one word, and a sentence. */
  reason: string | null
  reason_detail: string | null
  error: ErrorRecord | null
}

export interface TypeCounts {
  now: Partial<Record<JobStatus, number>>
  /** What the jobs that are there take: payloads, results and artifacts. */
  bytes: number
  /** All that ever ended so; deleting jobs does not lower them. */
  ever: Partial<Record<FinalStatus, number>>
}

export type Counts = Record<string, TypeCounts>
