// The main side of the threads: runs a job to its outcome, stops it when asked, and never rejects.
import { BroadcastChannel, type MessagePort, type Worker } from 'node:worker_threads'
import { cut } from '../cut.js'
import type { StopReason } from '../define-job.js'
import type { Job, JobWithPayload } from '../job.js'
import type { Failure, Outcome } from '../outcome.js'
import { formatDuration } from '../span.js'
import { died, FLOOD, NOT_BEGUN } from './ended.js'
import { createInbox } from './inbox.js'
import { createOvertaken } from './overtaken.js'
import type { Progress, Report, RunKey, StopRequest, ThreadData, ThreadMessage } from './protocol.js'
import { serveCalls } from './serve-calls.js'
import { createThreads, type Errand } from './threads.js'

export interface PoolOptions {
  min_threads: number
  /** Milliseconds after which an idle thread above `min_threads` leaves. */
  idle_ms: number
  /** Heap of one thread in MiB; a job that needs more fails with `out_of_memory`. */
  max_old_generation_mb: number
  /** Milliseconds between a job's signal and the end of its thread. */
  cancel_grace: number
  /** Unique to this pool in its process. */
  name: string
  dir: string
  types: ThreadData['types']
  recycle: ThreadData['recycle']
  limits: ThreadData['limits']
  /** Where a run writes its artifacts. */
  artifactFolder(run: RunKey): string
  /** Answers a handler's call of the main thread; `signal` fires when its job is asked to stop or its run is over. */
  serve(job: Job, method: string, args: unknown, signal: AbortSignal): Promise<unknown>
  onProgress(run: RunKey, progress: Progress): void
  onLog(run: RunKey, message: string): void
  /** An error that belongs to no run that still goes on. */
  onStrayError(run: RunKey | null, failure: Failure): void
  /** No thread can be started, and why; or null: it can again. Told once for each change. */
  onFailure(failure: string | null): void
}

export interface Pool {
  /** `timeout` is milliseconds, counted from the start of the run in its thread. */
  run(job: JobWithPayload, timeout: number): Promise<Outcome>
  /** Fires the signal of a run; its thread is terminated after `cancel_grace`, or at once with `now`. False: it does not go on here. */
  stopJob(run: RunKey, reason: StopReason, now?: boolean): boolean
  /** Threads alive or starting. */
  threads(): number
  /** Why no thread can be started, or null. Jobs that are given to it then are released. */
  failure(): string | null
  /** Resolves when a first thread has started, or could not. */
  proved(): Promise<void>
  stop(): Promise<void>
}

interface Run extends RunKey, Errand {
  job: Job
  timeout: number
  /** Known once the thread says that it began. */
  thread: Worker | null
  asked: StopReason | null
  /** Fires when its calls of the main thread are to end. */
  calls: AbortController
  port: MessagePort | null
  /** As told last. */
  progress: Progress | null
  /** Where the thread is to end with the run. */
  last_report: Report | null
  /** What was thrown outside the handler's promise. */
  uncaught: Failure | null
  timers: NodeJS.Timeout[]
}

export function createPool(options: PoolOptions): Pool {
  const { limits } = options
  /** A run that was lost to another node may still go on when its job is claimed here once more. */
  const runs = new Map<string, Run>()
  const overtaken = createOvertaken()
  const stops = new BroadcastChannel(options.name)
  stops.unref()
  const inbox = createInbox({
    limits,
    onStarted: begin,
    onMessage: receive,
    onLog: options.onLog,
    onStrayError: options.onStrayError,
    onFlood: stopFlood,
  })
  const threads = createThreads({
    min_threads: options.min_threads,
    idle_ms: options.idle_ms,
    max_old_generation_mb: options.max_old_generation_mb,
    data: {
      channel: options.name,
      dir: options.dir,
      types: options.types,
      recycle: options.recycle,
      limits: options.limits,
    },
    onMessage: (message, thread) => inbox.receive(message, thread),
    onFailure: options.onFailure,
  })

  const find = (key: RunKey) => runs.get(keyOf(key))

  function receive(message: ThreadMessage): void {
    const run = find(message)
    switch (message.kind) {
      case 'progress':
        if (run !== undefined) advance(run, message)
        return
      case 'uncaught':
        if (run === undefined) inbox.onStrayError(message, message.failure)
        else fail(run, message.failure)
        return
      case 'last_report':
        if (run !== undefined) dismiss(run, message.report)
        return
      case 'calls':
        if (run === undefined) message.port.close()
        else listen(run, message.port)
    }
  }

  function stopFlood(key: RunKey): void {
    const run = find(key)
    if (run !== undefined) fail(run, FLOOD)
  }

  function dismiss(run: Run, report: Report): void {
    run.last_report = report
    run.kill.abort()
  }

  function listen(run: Run, port: MessagePort): void {
    run.port?.close()
    run.port = port
    serveCalls(
      port,
      (method, args) => options.serve(run.job, method, args, run.calls.signal),
      () => fail(run, FLOOD),
    )
  }

  function advance(run: Run, { percent, note }: Progress): void {
    if (run.progress?.percent === percent && run.progress.note === note) return
    run.progress = { percent, note: note === null ? null : cut(note, limits.log_line) }
    options.onProgress(run, run.progress)
  }

  /** Once for each run: handlers could say it again. */
  function begin(key: RunKey, thread: Worker): boolean {
    const run = find(key)
    if (run === undefined) return overtaken.take(key)
    if (run.begun) return false
    threads.began(run)
    run.thread = thread
    run.timers.push(setTimeout(() => ask(run, 'timeout'), run.timeout))
    if (run.asked !== null) signal(run, run.asked)
    return true
  }

  /** The handler's promise may never settle now, and what it left behind must not go on: its thread ends with it. */
  function fail(run: Run, failure: Failure): void {
    run.uncaught ??= failure
    run.kill.abort()
  }

  function ask(run: Run, reason: StopReason): void {
    if (run.asked !== null) return
    run.asked = reason
    // At a shutdown what is nearly done may be completed within the grace, with all that it takes.
    if (reason !== 'shutdown') run.calls.abort()
    if (run.thread !== null) signal(run, reason)
    // Only asked here: what becomes of the job is decided when the run has ended.
    run.timers.push(setTimeout(() => run.kill.abort(), options.cancel_grace))
  }

  function signal({ id, run }: Run, reason: StopReason): void {
    const request: StopRequest = { id, run, reason }
    stops.postMessage(request)
  }

  async function run(job: JobWithPayload, timeout: number): Promise<Outcome> {
    const { id, run, type, attempt, payload } = job
    const folder = options.artifactFolder(job)
    const entry: Run = {
      id,
      run,
      job,
      timeout,
      task: { id, run, type, attempt, payload, folder, resumed: run > 1, dependencies: job.depends_on.length },
      kill: new AbortController(),
      begun: false,
      thread: null,
      asked: null,
      calls: new AbortController(),
      port: null,
      progress: null,
      last_report: null,
      uncaught: null,
      timers: [],
    }
    runs.set(keyOf(job), entry)
    try {
      const { progress, outcome } = await reportOf(entry)
      if (progress !== null) advance(entry, progress)
      return decide(entry, outcome)
    } finally {
      for (const timer of entry.timers) clearTimeout(timer)
      entry.calls.abort()
      entry.port?.close()
      runs.delete(keyOf(job))
    }
  }

  async function reportOf(run: Run): Promise<Report> {
    try {
      const report = await threads.run(run)
      if (!run.begun) overtaken.add(run)
      return report
    } catch (error) {
      // It may still be inside a native call, or alive after all: its slot is free only when it is really gone.
      await run.thread?.terminate()
      return run.last_report ?? { outcome: run.begun ? { kind: 'failed', ...died(error) } : NOT_BEGUN, progress: null }
    }
  }

  return {
    run,
    stopJob(key, reason, now = false) {
      const entry = find(key)
      if (entry === undefined) return false
      ask(entry, reason)
      if (now) entry.kill.abort()
      return true
    },
    threads: threads.count,
    failure: threads.failure,
    proved: threads.proved,
    async stop() {
      stops.close()
      await threads.stop()
    },
  }
}

const keyOf = ({ id, run }: RunKey) => `${id} ${run}`

/** What was asked for wins over what the handler answered, except that a shutdown lets good work count. */
function decide(run: Run, outcome: Outcome): Outcome {
  if (run.asked === 'cancelled') return { kind: 'cancelled' }
  if (run.asked === 'timeout') {
    const message = `ran longer than its timeout of ${formatDuration(run.timeout)}`
    return { kind: 'failed', code: 'timeout', message, retryable: true }
  }
  if (run.asked === 'shutdown' && outcome.kind !== 'completed' && outcome.kind !== 'snoozed') {
    return { kind: 'released', detail: 'its node was shut down' }
  }
  return run.uncaught === null ? outcome : { kind: 'failed', ...run.uncaught }
}
