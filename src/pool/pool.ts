// The main side of the threads: runs a job to its outcome, stops it when asked, and never rejects.
import { setImmediate as turn } from 'node:timers/promises'
import { BroadcastChannel, type MessagePort, type Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { BUILD } from '../build.js'
import type { StopReason } from '../define-job.js'
import { formatDuration } from '../duration.js'
import { PROBLEMS, ServiceError } from '../errors.js'
import type { Job, JobWithPayload } from '../job.js'
import type { Failure, Outcome } from '../outcome.js'
import {
  type Answer,
  type Call,
  isCall,
  isThreadMessage,
  type Progress,
  type Report,
  type RunKey,
  type StopRequest,
  type Task,
  type ThreadData,
  type ThreadMessage,
} from './protocol.js'

/** The highest `max_workers`: the pool has room for so many threads and gets no more tasks than there are slots. */
export const MAX_THREADS = 512
/** Calls of one run that are served at the same time. */
const CALLS_AT_ONCE = 4
/** An idle thread above `min_threads` leaves after this. */
const IDLE_MS = 30_000
/** V8's own default lets every busy thread hold up to 48 MB of garbage. */
const YOUNG_MB = 4

export interface PoolOptions {
  min_threads: number
  /** Heap of one thread in MiB; a job that needs more fails with `out_of_memory`. */
  max_old_generation_mb: number
  /** Milliseconds between a job's signal and the end of its thread. */
  cancel_grace: number
  /** Unique to this pool in its process. */
  name: string
  dir: string
  types: ThreadData['types']
  /** Where a run writes its artifacts. */
  artifactFolder(run: RunKey): string
  /** Answers a handler's call of the main thread; `signal` fires when its job is asked to stop or its run is over. */
  serve(job: Job, method: string, args: unknown, signal: AbortSignal): Promise<unknown>
  onProgress(run: RunKey, progress: Progress): void
  onLog(run: RunKey, message: string): void
  /** An error that belongs to no run that still goes on. */
  onStrayError(run: RunKey | null, failure: Failure): void
}

export interface Pool {
  /** `timeout` is milliseconds, counted from the start of the run in its thread. */
  run(job: JobWithPayload, timeout: number): Promise<Outcome>
  /** Fires the signal of a run; its thread is terminated after `cancel_grace`, or at once with `now`. False: it does not go on here. */
  stopJob(run: RunKey, reason: StopReason, now?: boolean): boolean
  /** Threads alive or starting. */
  threads(): number
  stop(): Promise<void>
}

interface Run extends RunKey {
  job: Job
  timeout: number
  kill: AbortController
  /** Known once the thread says that it began. */
  thread: Worker | null
  asked: StopReason | null
  /** Fires when its calls of the main thread are to end. */
  calls: AbortController
  port: MessagePort | null
  /** As told last. */
  progress: Progress | null
  /** What was thrown outside the handler's promise. */
  uncaught: Failure | null
  timers: NodeJS.Timeout[]
}

export function createPool(options: PoolOptions): Pool {
  const runs = new Map<string, Run>()
  const stops = new BroadcastChannel(options.name)
  stops.unref()
  const data: ThreadData = { channel: options.name, dir: options.dir, types: options.types }
  const piscina = new Piscina<Task, Report>({
    filename: new URL('src/pool/thread.js', BUILD).href,
    minThreads: options.min_threads,
    maxThreads: MAX_THREADS,
    idleTimeout: IDLE_MS,
    resourceLimits: { maxOldGenerationSizeMb: options.max_old_generation_mb, maxYoungGenerationSizeMb: YOUNG_MB },
    workerData: data,
  })
  piscina.on('message', (message: unknown) => {
    if (isThreadMessage(message)) receive(message)
  })
  piscina.on('error', (error: unknown) => options.onStrayError(null, died(error)))

  function receive(message: ThreadMessage): void {
    const run = runs.get(message.id)
    const current = run?.run === message.run ? run : undefined
    switch (message.kind) {
      case 'started':
        if (current !== undefined) begin(current, message.thread)
        return
      case 'progress':
        if (current !== undefined) advance(current, message)
        return
      case 'log':
        options.onLog(message, message.message)
        return
      case 'uncaught':
        if (current === undefined) options.onStrayError(message, message.failure)
        else fail(current, message.failure)
        return
      case 'calls':
        if (current === undefined) message.port.close()
        else listen(current, message.port)
    }
  }

  function listen(run: Run, port: MessagePort): void {
    run.port?.close()
    run.port = port
    const waiting: Call[] = []
    let busy = 0

    /** A few at a time, with a turn of the event loop before each: a handler that calls in masses holds up only itself. */
    async function serveNext(): Promise<void> {
      busy += 1
      for (let call = waiting.shift(); call !== undefined; call = waiting.shift()) {
        await turn()
        port.postMessage(await answer(run, call))
      }
      busy -= 1
    }

    port.on('message', (call: unknown) => {
      if (!isCall(call)) return
      waiting.push(call)
      if (busy < CALLS_AT_ONCE) void serveNext()
    })
  }

  function answer(run: Run, { call, method, args }: Call): Promise<Answer> {
    return options.serve(run.job, method, args, run.calls.signal).then(
      (value) => ({ call, value }),
      (error: unknown) => ({ call, error: refusalOf(error) }),
    )
  }

  function advance(run: Run, { percent, note }: Progress): void {
    if (run.progress?.percent === percent && run.progress.note === note) return
    run.progress = { percent, note }
    options.onProgress(run, run.progress)
  }

  function begin(run: Run, thread: number): void {
    run.thread = piscina.threads.find(({ threadId }) => threadId === thread) ?? null
    run.timers.push(setTimeout(() => ask(run, 'timeout'), run.timeout))
    if (run.asked !== null) signal(run, run.asked)
  }

  /** The handler's promise may never settle now, and what it left behind must not go on: its thread ends with it. */
  function fail(run: Run, failure: Failure): void {
    run.uncaught ??= failure
    run.kill.abort()
  }

  function ask(run: Run, reason: StopReason): void {
    if (run.asked !== null) return
    run.asked = reason
    run.calls.abort()
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
    const entry: Run = {
      id,
      run,
      job,
      timeout,
      kill: new AbortController(),
      thread: null,
      asked: null,
      calls: new AbortController(),
      port: null,
      progress: null,
      uncaught: null,
      timers: [],
    }
    runs.set(id, entry)
    try {
      const folder = options.artifactFolder(entry)
      const report = await piscina.run({ id, run, type, attempt, payload, folder }, { signal: entry.kill.signal })
      if (report.progress !== null) advance(entry, report.progress)
      return decide(entry, report.outcome)
    } catch (error) {
      // It may still be inside a native call, or alive after all: its slot is free only when it is really gone.
      await entry.thread?.terminate()
      return decide(entry, { kind: 'failed', ...died(error) })
    } finally {
      for (const timer of entry.timers) clearTimeout(timer)
      entry.calls.abort()
      entry.port?.close()
      runs.delete(id)
    }
  }

  return {
    run,
    stopJob({ id, run }, reason, now = false) {
      const entry = runs.get(id)
      if (entry?.run !== run) return false
      ask(entry, reason)
      if (now) entry.kill.abort()
      return true
    },
    threads: () => piscina.threads.length,
    async stop() {
      stops.close()
      await piscina.destroy()
    },
  }
}

/** What was asked for wins over what the handler answered, except that a shutdown lets good work count. */
function decide(run: Run, outcome: Outcome): Outcome {
  if (run.asked === 'cancelled') return { kind: 'cancelled' }
  if (run.asked === 'timeout') {
    const message = `ran longer than its timeout of ${formatDuration(run.timeout)}`
    return { kind: 'failed', code: 'timeout', message, retryable: true }
  }
  if (run.asked === 'shutdown' && outcome.kind !== 'completed') {
    return { kind: 'released', detail: 'its node was shut down' }
  }
  return run.uncaught === null ? outcome : { kind: 'failed', ...run.uncaught }
}

/** As plain data. What was wrong with the call itself will be wrong at a further attempt too. */
function refusalOf(error: unknown): { message: string; retryable: boolean } {
  const message = error instanceof Error ? error.message : String(error)
  return { message, retryable: !(error instanceof ServiceError && PROBLEMS[error.code].status < 500) }
}

function died(error: unknown): Failure {
  const out_of_memory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
  const message = `the thread of this job ended: ${error instanceof Error ? error.message : String(error)}`
  return { code: out_of_memory ? 'out_of_memory' : 'thread_died', message, retryable: true }
}
