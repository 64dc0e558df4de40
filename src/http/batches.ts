// The routes of batches: many jobs in one request, all or none as JSON, line by line as NDJSON; their state, their cancel.
import type { Express, Request, Response } from 'express'
import { z } from 'zod'
import { type FieldError, ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import type { JobWithPayload } from '../job.js'
import { batchView, deduplicatedJson, jobJson } from '../job-view.js'
import type { Accepted, Bounds, Store } from '../store/store.js'
import { invalid, readOnComplete, readSubmission } from '../submission.js'
import type { SubmittedJob } from '../tracker.js'
import { ownerOf } from './auth.js'
import { readBody } from './body.js'
import { idempotencyKeys } from './idempotency.js'
import { cancelRequest } from './jobs.js'
import { isNdjson, type LineOptions, submitLines } from './ndjson.js'
import { readQuery } from './query.js'
import { route, sendJson, sendJsonText } from './reply.js'
import { whenGone } from './waits.js'

export interface BatchRoutes extends LineOptions {
  store: Store
  body_limit: number
  bounds: Bounds
  /** Milliseconds for which an Idempotency-Key is kept. */
  idempotency_window: number
}

/** Jobs of one JSON batch. */
const MOST = 1_000
const MAX_ERRORS = 1_000
const ROOM_POLL_MS = 1_000

export const batchBody = z.strictObject({
  jobs: z
    .array(z.unknown(), 'must be a list of jobs')
    .min(1, 'must have at least one job')
    .max(MOST, `must have at most ${MOST} jobs; more go as NDJSON`),
  on_complete: z.unknown().optional(),
})
export const batchQuery = z.strictObject({
  on_full: z
    .enum(['reject', 'wait'])
    .optional()
    .describe('While the queue is full: refuse (as JSON does) or wait for room (as NDJSON does).'),
})
export function batchRoutes(app: Express, options: BatchRoutes): void {
  const { store, tracker, waitForRoom, submissionRules, body_limit, bounds, idempotency_window, newId, now } = options

  route(app, '/jobs/batch', {
    async post(req, res) {
      const { on_full } = readQuery(batchQuery, req.query)
      options.refuseWhileDraining()
      if (isNdjson(req)) await submitLines(req, res, options, on_full !== 'reject')
      else await submitWhole(req, res, on_full === 'wait')
    },
  })

  async function submitWhole(req: Request, res: Response, wait: boolean): Promise<void> {
    const read = await readBody(req, body_limit)
    const checked = inspect(batchBody, read)
    if (!checked.ok) throw invalid('invalid_request', checked.findings)
    const at = now()
    const sent = idempotencyKeys(req, read, ownerOf(res), at + idempotency_window)
    // Before anything else: what was right when it was sent first may not be any more.
    const before = sent[0] && (await store.recall(sent[0], at, true))
    if (before) return answer(res, 200, before.batch_id, before.jobs.map(known))
    const jobs = readAll(checked.data.jobs, checked.data.on_complete, at)
    const [first] = jobs as [SubmittedJob]
    jobs[0] = { ...first, keys: [...sent, ...first.keys] }
    const plan = { id: newId(), open: false, on_complete: checked.data.on_complete !== undefined }
    const accepted = await submitWithin(() => tracker.submitBatch(jobs, at, plan), wait && couldFit(jobs), res)
    if (!accepted.every(({ deduplicated }) => deduplicated))
      return answer(res, 202, plan.id, plan.on_complete ? accepted.slice(0, -1) : accepted)
    // The same request at the same time; or jobs that were there before, by their unique_keys, in batches of their own.
    const [batch = null, ...others] = new Set(accepted.map(({ job }) => job.batch_id))
    return answer(res, 200, others.length === 0 ? batch : null, accepted)
  }

  async function answer(res: Response, status: number, id: string | null, members: readonly Accepted[]) {
    const texts = members.map(({ job, deduplicated }) => (deduplicated ? deduplicatedJson(job) : jobJson(job)))
    if (id !== null) res.setHeader('Location', `/batches/${id}`)
    const last = id === null ? null : ((await store.batch(id))?.on_complete ?? null)
    const on_complete = last === null ? '' : `,"on_complete":"${last}"`
    sendJsonText(res, status, `{"batch_id":${JSON.stringify(id)},"jobs":[${texts}]${on_complete}}`)
  }

  /** What is larger than the queue would wait for ever. */
  function couldFit(jobs: readonly SubmittedJob[]): boolean {
    const { max_pending, max_pending_of = new Map<string, number>(), max_stored } = bounds
    if (jobs.length > Math.min(max_pending, max_stored)) return false
    return [...max_pending_of].every(([type, most]) => jobs.filter((job) => job.type === type).length <= most)
  }

  /** All that is wrong with any of them; the pointers lead into the request's body. */
  function readAll(jobs: unknown[], on_complete: unknown, at: number): SubmittedJob[] {
    const errors: FieldError[] = []
    let code: ServiceError['code'] | null = null
    const read = (value: unknown, pointer: string): SubmittedJob | null => {
      try {
        return (pointer === '/on_complete' ? readOnComplete : readSubmission)(value, submissionRules, at)
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error
        code ??= error.code
        const found = error.errors ?? [{ pointer: '', detail: error.message }]
        errors.push(...found.map(({ pointer: inner, detail }) => ({ pointer: pointer + inner, detail })))
        return null
      }
    }
    const submissions = jobs.map((job, i) => read(job, `/jobs/${i}`))
    if (on_complete !== undefined) submissions.push(read(on_complete, '/on_complete'))
    const [first] = errors
    if (code !== null)
      throw new ServiceError(code, `${first?.pointer}: ${first?.detail}`, { errors: errors.slice(0, MAX_ERRORS) })
    return submissions.filter((job) => job !== null)
  }

  async function submitWithin<T>(submit: () => Promise<T>, wait: boolean, res: Response): Promise<T> {
    const gone = whenGone(res)
    for (;;) {
      try {
        return await submit()
      } catch (error) {
        const full = error instanceof ServiceError && error.code === 'queue_full'
        if (!wait || !full || gone.aborted) throw error
        await waitForRoom(ROOM_POLL_MS, gone)
        options.refuseWhileDraining()
      }
    }
  }

  route(app, '/batches/:id', {
    async get(req, res) {
      sendJson(res, 200, batchView(found(await store.batch(idOf(req)), req)))
    },
  })

  route(app, '/batches/:id/cancel', {
    async post(req, res) {
      const asked = inspect(cancelRequest, await readBody(req, body_limit))
      if (!asked.ok) throw invalid('invalid_request', asked.findings)
      const reason = asked.data.reason ?? 'its batch was cancelled on request'
      const batch = batchView(found(await tracker.cancelBatch(idOf(req), reason), req))
      // Those that run have been asked to stop.
      sendJson(res, batch.jobs.processing > 0 ? 202 : 200, batch)
    },
  })
}

const known = (job: JobWithPayload): Accepted => ({ job, deduplicated: true })

function idOf(req: Request): string {
  return String(req.params.id)
}

function found<T>(value: T | null, req: Request): T {
  if (value === null) throw new ServiceError('batch_not_found', `there is no batch ${idOf(req).slice(0, 100)}`)
  return value
}
