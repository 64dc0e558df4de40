// POST /jobs/batch as NDJSON: jobs are stored while they come in, with one answer line for each, in the same memory however many.
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import type { Request, Response } from 'express'
import { PROBLEMS, type ProblemCode, ServiceError } from '../errors.js'
import type { EventBus } from '../events.js'
import { refuseExtremes } from '../json.js'
import type { WaitForRoom } from '../room.js'
import { MAX_ENVELOPE_BYTES, readOnComplete, readSubmission, type SubmissionRules } from '../submission.js'
import type { JobTracker, SubmittedJob } from '../tracker.js'
import { liftBodyTime } from './body-time.js'
import { createLines, type Line } from './lines.js'

export interface LineOptions {
  tracker: JobTracker
  bus: EventBus
  waitForRoom: WaitForRoom
  submissionRules: SubmissionRules
  /** Milliseconds that a stream may be silent, or leave its answers unread. */
  body_timeout: number
  newId(): string
  now(): number
  /** @throws ServiceError draining */
  refuseWhileDraining(): void
}

/** Jobs that share a transaction, and what their lines may have in bytes. */
const GROUP = 1_000
const GROUP_BYTES = 1_048_576
/** Answers that may wait for their client to take them before more is read. */
const UNREAD_BYTES = 262_144
const ROOM_POLL_MS = 1_000
/** How long lines are read before others have their turn: broken ones are not stored, which would give it. */
const TURN_MS = 10
/** Errors of the whole store: what would be wrong with one line is wrong with all. */
const OF_ALL: readonly ProblemCode[] = ['storage_full', 'store_busy', 'outcome_unknown', 'draining', 'batch_closed']

export function isNdjson({ headers }: IncomingMessage): boolean {
  return /^application\/(x-)?ndjson\s*(;|$)/i.test(headers['content-type'] ?? '')
}

interface Entry {
  line: number
  job: SubmittedJob
  /** It waits for the end of all others. */
  last: boolean
}

/**
 * Answers 202 with the first line; what is wrong with the request as a whole is thrown before. While the queue is full
 * reading pauses with `wait`, without it those lines are refused.
 */
export async function submitLines(req: Request, res: Response, options: LineOptions, wait: boolean): Promise<void> {
  if (req.headers['idempotency-key'] !== undefined)
    throw new ServiceError('malformed_request', 'a stream has no Idempotency-Key: give its lines a unique_key')
  if ((req.headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new ServiceError('unsupported_media_type', 'send the lines without a Content-Encoding')
  const { tracker, submissionRules, now, newId, body_timeout, waitForRoom } = options
  const lines = createLines(submissionRules.max_payload + MAX_ENVELOPE_BYTES)
  const batch = newId()
  const gone = new AbortController()
  res.once('close', () => gone.abort())
  let begun = false
  let size = GROUP
  let has_last = false
  let out = ''

  function refusal(line: number, error: ServiceError): string {
    options.bus.publish({ kind: 'refused', code: error.code })
    return `${JSON.stringify({ line, error: problemOf(error) })}\n`
  }

  /** Stores the entries in order, in as large groups as are taken; answers come in the order of the lines. */
  async function store(entries: Entry[]): Promise<void> {
    for (let at = 0; at < entries.length && !gone.signal.aborted; ) {
      const group = entries.slice(at, at + size)
      // The job that waits for the others goes alone: a plan has one such, at its end.
      const until = group.findIndex(({ last }) => last)
      const part = until > 0 ? group.slice(0, until) : until === 0 ? group.slice(0, 1) : group
      const done = await storeGroup(part)
      if (done) at += part.length
    }
  }

  /** False: to be tried again, smaller or later. */
  async function storeGroup(part: Entry[]): Promise<boolean> {
    const plan = { id: batch, open: true, on_complete: part[0]?.last === true }
    try {
      options.refuseWhileDraining()
      const accepted = await tracker.submitBatch(
        part.map(({ job }) => job),
        now(),
        plan,
      )
      begun = true
      for (const { job, deduplicated } of accepted)
        out += `{"id":"${job.id}","status":"${job.status}"${deduplicated ? ',"deduplicated":true' : ''}}\n`
      size = Math.min(GROUP, size * 2)
      return true
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const of_all = OF_ALL.includes(error.code)
      if (part.length > 1 && !of_all) {
        size = Math.ceil(part.length / 2)
        return false
      }
      if (error.code === 'queue_full' && wait) {
        await flush()
        await waitForRoom(ROOM_POLL_MS, gone.signal)
        return false
      }
      for (const { line } of part) out += refusal(line, error)
      // That line may come again.
      if (plan.on_complete) has_last = false
      return true
    }
  }

  /** What is wrong with the line is its answer. */
  function read(line: Line, at: number): Entry | string {
    try {
      const value = parse(line)
      const control = typeof value === 'object' && value !== null && Object.keys(value).join() === 'on_complete'
      const job = control
        ? readOnComplete(Reflect.get(value, 'on_complete'), submissionRules, at)
        : readSubmission(value, submissionRules, at)
      if (control && has_last) throw new ServiceError('invalid_job', '/on_complete: there is one already')
      has_last ||= control
      return { line: line.number, job, last: control }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return refusal(line.number, error)
    }
  }

  async function take(found: Iterable<Line>): Promise<void> {
    let entries: Entry[] = []
    let bytes = 0
    const at = now()
    let turned_at = performance.now()
    const storeRead = async () => {
      const read = entries
      entries = []
      bytes = 0
      await store(read)
      if (out.length > UNREAD_BYTES) await flush()
    }
    for (const line of found) {
      if (line.text !== null && line.text.trim() === '') continue
      const entry = read(line, at)
      if (typeof entry === 'string') {
        // Answers keep the order of the lines: what was read before a broken one is stored first.
        if (entries.length > 0) await storeRead()
        out += entry
      } else {
        entries.push(entry)
        bytes += entry.job.payload.length
      }
      if (entries.length === GROUP || bytes > GROUP_BYTES || out.length > UNREAD_BYTES) await storeRead()
      if (performance.now() - turned_at > TURN_MS) {
        await turn()
        turned_at = performance.now()
      }
      if (gone.signal.aborted) return
    }
    await store(entries)
    await flush()
  }

  async function flush(): Promise<void> {
    if (out === '' || gone.signal.aborted) return
    if (!res.headersSent) {
      res.statusCode = 202
      res.setHeader('Content-Type', 'application/x-ndjson; charset=utf-8')
      res.setHeader('Location', `/batches/${batch}`)
    }
    res.write(out)
    out = ''
    if (res.writableLength > UNREAD_BYTES) await taken()
  }

  /** A client that takes none of its answers for as long as it may be silent is gone. */
  async function taken(): Promise<void> {
    const timer = setTimeout(() => res.destroy(), body_timeout)
    await once(res, 'drain', { signal: gone.signal }).catch(() => {})
    clearTimeout(timer)
  }

  // The limits of a body are not for a stream: it may take its time as long as it is not silent.
  liftBodyTime(req)
  req.socket.setTimeout(0)
  try {
    for await (const chunk of silentAtMost(req, body_timeout)) {
      await take(lines.of(chunk))
      if (gone.signal.aborted) break
    }
    await take(lines.rest())
  } catch (error) {
    if (!gone.signal.aborted && !req.destroyed) throw error
  } finally {
    if (begun) await tracker.closeBatch(batch)
  }
  if (gone.signal.aborted) return
  if (!res.headersSent) {
    res.statusCode = 202
    res.setHeader('Content-Type', 'application/x-ndjson; charset=utf-8')
  }
  res.end()
}

/** The chunks of a request that is destroyed where none comes for `ms` while one is waited for. */
async function* silentAtMost(req: Request, ms: number): AsyncGenerator<Buffer> {
  const chunks = req[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  for (;;) {
    const timer = setTimeout(() => req.destroy(), ms)
    const { done, value } = await chunks.next().finally(() => clearTimeout(timer))
    if (done === true) return
    yield value
  }
}

/** @throws ServiceError */
function parse({ text, problem }: Line): unknown {
  if (problem === 'too_long')
    throw new ServiceError('body_too_large', 'the line is longer than a job may be (limits.payload)')
  if (text === null) throw new ServiceError('malformed_request', 'the line is not valid UTF-8')
  try {
    const value: unknown = JSON.parse(text)
    refuseExtremes(value)
    return value
  } catch (error) {
    if (error instanceof ServiceError) throw error
    throw new ServiceError('malformed_request', `the line is not JSON: ${error instanceof Error ? error.message : ''}`)
  }
}

function problemOf({ code, message, errors }: ServiceError) {
  const { status, title } = PROBLEMS[code]
  return { type: `urn:jobmill:problem:${code}`, title, status, detail: message, code, ...(errors && { errors }) }
}
