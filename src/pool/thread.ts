// The thread side: runs one handler at a time and turns whatever it does into an outcome; nothing throws across.
import { AsyncLocalStorage } from 'node:async_hooks'
import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { basename, resolve } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { getHeapStatistics } from 'node:v8'
import { BroadcastChannel, parentPort, type TransferListItem, workerData } from 'node:worker_threads'
import type { z } from 'zod'
import { cut } from '../cut.js'
import type { JobContext, JobDefinition, Span } from '../define-job.js'
import type { Artifact, JsonText } from '../job.js'
import type { Failure, Outcome } from '../outcome.js'
import { parseDuration } from '../span.js'
import { createRunArtifacts, type RunArtifacts } from './artifacts.js'
import { createCalls } from './calls.js'
import { failureOf, payloadFailure } from './failure.js'
import { isLongerThan } from './json-size.js'
import {
  type Limits,
  lastLine,
  type Progress,
  type Report,
  type RunKey,
  type StopRequest,
  type Task,
  type ThreadData,
  type ThreadMessage,
} from './protocol.js'
import { type Inputs, inputsOf, servedContext } from './served.js'

/** At most four progress messages a second. */
const PROGRESS_PAUSE_MS = 250
const MAX_NOTE_BYTES = 500

/** Of a thread, as nice(2) counts: enough for requests to be answered at once while handlers spin in every slot. */
const NICENESS = 5

yieldToRequests()
export default createThread(workerData, (message, moved) => parentPort?.postMessage(message, moved))

/** On Linux every thread has a priority of its own, by the thread's id; elsewhere it is the whole process's, and stays. */
function yieldToRequests(): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), NICENESS)
  } catch {
    // Without /proc, or where it is forbidden, all threads go on as equals.
  }
}

type Post = (message: ThreadMessage, moved?: TransferListItem[]) => void

function createThread({ channel, dir, types, recycle, limits }: ThreadData, post: Post) {
  const definitions = new Map<string, Promise<JobDefinition>>()
  /** Which run an error that nobody caught belongs to, however late it comes. */
  const guilty = new AsyncLocalStorage<RunKey>()
  let current: (RunKey & { controller: AbortController }) | null = null
  let jobs = 0
  /** What an earlier job left behind throws: the thread is replaced as soon as nobody is disturbed. */
  let haunted = false

  const stops = new BroadcastChannel(channel)
  stops.onmessage = (event: unknown) => {
    const { id, run, reason } = (event as { data: StopRequest }).data
    if (current?.id === id && current.run === run) current.controller.abort(reason)
  }
  stops.unref()
  process.on('uncaughtException', blame)
  process.on('unhandledRejection', blame)

  function blame(error: unknown): void {
    const { id, run } = guilty.getStore() ?? { id: 'unknown', run: 0 }
    haunted ||= current?.id !== id || current.run !== run
    post({ kind: 'uncaught', id, run, failure: failureOf(error, limits.error) })
  }

  function load(type: string): Promise<JobDefinition> {
    const known = definitions.get(type)
    if (known !== undefined) return known
    const loading = import(types[type]?.url ?? `no file for type ${type}`).then((module) => module.default)
    definitions.set(type, loading)
    return loading
  }

  function isWorn(): boolean {
    jobs += 1
    const { used_heap_size, external_memory } = getHeapStatistics()
    return haunted || jobs >= recycle.jobs || used_heap_size + external_memory > recycle.heap
  }

  /** Without a task the answer only proves that the thread has started. */
  return async function runTask(task: Task | null): Promise<Report | null> {
    if (task === null) return null
    const { id, run, attempt, type } = task
    const controller = new AbortController()
    current = { id, run, controller }
    post({ kind: 'started', id, run })
    const calls = createCalls(controller.signal, (port) => post({ kind: 'calls', id, run, port }, [port]))
    const artifacts = createRunArtifacts(task.folder, (bytes) => calls.call('artifacts.reserve', { bytes }))
    const progress = createProgress((report) => post({ kind: 'progress', id, run, ...report }))
    const snooze = createSnooze()
    const contextWith = (inputs: Inputs): JobContext => ({
      id,
      attempt,
      run,
      signal: controller.signal,
      config: types[type]?.config,
      resolve: (path) => resolve(dir, path),
      progress: progress.report,
      log: createLog(limits, (message) => post({ kind: 'log', id, run, message })),
      artifact: artifacts.open,
      snooze: snooze.snooze,
      ...servedContext(calls, limits),
      ...inputs,
    })
    const context = async () => contextWith(await inputsOf(task, calls))
    const outcome = await guilty.run({ id, run }, () =>
      handle(load(type), task, context, artifacts, snooze.delayOf, limits),
    )
    calls.end()
    current = null
    const report: Report = { outcome, progress: progress.end() }
    if (!isWorn()) return report
    post({ kind: 'last_report', id, run, report })
    return new Promise(() => {})
  }
}

async function handle(
  loading: Promise<JobDefinition>,
  task: Task,
  context: () => Promise<JobContext>,
  artifacts: RunArtifacts,
  delayOf: (error: unknown) => number | null,
  limits: Limits,
): Promise<Outcome> {
  let definition: JobDefinition
  try {
    definition = await loading
  } catch (error) {
    return { kind: 'failed', ...failureOf(error, limits.error), code: 'type_unavailable' }
  }
  try {
    const ctx = await context()
    const payload = parsePayload(definition, JSON.parse(task.payload), ctx.config)
    if (!payload.success) return { kind: 'failed', ...payloadFailure(payload.error, limits.error) }
    const result = await definition.run(payload.data, ctx)
    return completed(result, await artifacts.finish(), limits)
  } catch (error) {
    await artifacts.abandon()
    const delay = delayOf(error)
    if (delay !== null) return { kind: 'snoozed', delay }
    return { kind: 'failed', ...failureOf(error, limits.error) }
  }
}

/** What `ctx.snooze` throws ends the handler; it is known by identity, as others may throw what cannot even be looked at. */
function createSnooze() {
  let thrown: { error: Error; delay: number } | null = null
  return {
    snooze(span: Span): never {
      const delay = parseDuration(span)
      if (delay === null) throw new RangeError(`snooze: "${span}" is not a span of time`)
      thrown = { error: new Error('this job is to be run again later'), delay }
      throw thrown.error
    },
    /** Milliseconds, where that is what was thrown. */
    delayOf: (error: unknown): number | null => (thrown !== null && error === thrown.error ? thrown.delay : null),
  }
}

/** A payload that came by SQL was not checked yet; others were, but the type's file or config may have changed since. */
function parsePayload({ payload: schema }: JobDefinition, payload: unknown, config: unknown) {
  if (schema === undefined) return { success: true, data: payload } as const
  return (typeof schema === 'function' ? schema(config) : (schema as z.ZodType)).safeParse(payload)
}

function completed(result: unknown, artifacts: Artifact[], limits: Limits): Outcome {
  try {
    if (isLongerThan(result, limits.result)) return tooLarge(limits)
    const text: JsonText | undefined = JSON.stringify(result)
    if (text === undefined && result !== undefined) throw new TypeError(`a ${typeof result} has no JSON form`)
    if (text !== undefined && Buffer.byteLength(text) > limits.result) return tooLarge(limits)
    return { kind: 'completed', result: text ?? null, artifacts }
  } catch (error) {
    // JSON that is longer than V8's longest string.
    if (error instanceof RangeError && error.message === 'Invalid string length') return tooLarge(limits)
    // The work is done: to do it again would not make its result any more JSON.
    const failure: Failure = { ...failureOf(error, limits.error), code: 'result_not_serialisable', retryable: false }
    return { kind: 'failed', ...failure }
  }
}

function tooLarge({ result }: Limits): Outcome {
  const message = `the result takes more than ${result} bytes as JSON (limits.result); large ones belong into an artifact`
  return { kind: 'failed', code: 'result_too_large', message, retryable: false }
}

function createProgress(send: (progress: Progress) => void) {
  let sent_at = Number.NEGATIVE_INFINITY
  let last: Progress | null = null
  let timer: NodeJS.Timeout | undefined

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    sent_at = performance.now()
    if (last !== null) send(last)
  }

  return {
    async report(percent: number, note?: string): Promise<void> {
      last = { percent: clamp(percent), note: note === undefined ? null : cut(String(note), MAX_NOTE_BYTES) }
      const wait = sent_at + PROGRESS_PAUSE_MS - performance.now()
      if (wait > 0) {
        timer ??= setTimeout(flush, wait)
        return
      }
      flush()
      // A handler that only ever awaits its progress still comes to see its signal.
      await turn()
    },
    end(): Progress | null {
      clearTimeout(timer)
      return last
    },
  }
}

function clamp(percent: number): number {
  return Number.isFinite(percent) ? Math.round(Math.min(100, Math.max(0, percent))) : 0
}

function createLog({ log_lines, log_line }: Limits, send: (message: string) => void) {
  let lines = 0
  return (message: string): void => {
    lines += 1
    if (lines < log_lines) send(cut(String(message), log_line))
    else if (lines === log_lines) send(lastLine(log_lines))
  }
}
