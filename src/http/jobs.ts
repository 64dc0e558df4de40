// The routes of jobs: submit, read, list, cancel, run again.
import type { Express, Request, Response } from 'express'
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import type { FinalWaits } from '../final-waits.js'
import { isFinal, type Job, type JobWithPayload } from '../job.js'
import type { JobTypes } from '../job-types.js'
import { attemptView, deduplicatedJson, jobJson, jobSummary, logView } from '../job-view.js'
import { invalid, readAdjustment, typeOf } from '../submission.js'
import type { JobTracker } from '../tracker.js'
import type { Why } from '../why.js'
import { type ArtifactRoutes, artifactRoutes } from './artifacts.js'
import { ownerOf } from './auth.js'
import { readBody } from './body.js'
import { type BulkRoutes, bulkRoutes } from './bulk.js'
import { etagOf, isKnown } from './conditions.js'
import { sendFragment, wantsHtml } from './fragments.js'
import { idempotencyKeys } from './idempotency.js'
import { cursorAfter, readJobQuery } from './job-query.js'
import { logCursor, readLogQuery } from './log-query.js'
import { readNoQuery } from './query.js'
import { route, sendJson, sendJsonText } from './reply.js'
import type { Submit } from './submit.js'
import { preferredWait, readWait, whenGone } from './waits.js'

export interface JobRoutes extends ArtifactRoutes, BulkRoutes {
  tracker: JobTracker
  waits: FinalWaits
  types: JobTypes
  submit: Submit
  body_limit: number
  /** Milliseconds for which an Idempotency-Key is kept. */
  idempotency_window: number
  now(): number
  /** @throws ServiceError draining */
  refuseWhileDraining(): void
  /** What a job waits for, in words and fields. */
  why(job: Job): Promise<Why>
}

export const cancelRequest = z.strictObject({ reason: z.string().min(1).max(500).optional() }).default({})

export function jobRoutes(app: Express, options: JobRoutes): void {
  const { store, tracker, waits, types, submit, body_limit, idempotency_window, now, refuseWhileDraining, why } =
    options
  artifactRoutes(app, options)
  bulkRoutes(app, options)

  /** The job when it is final, or as it is after `ms`; null: it was deleted. */
  async function finalWithin(job: JobWithPayload, ms: number, res: Response): Promise<JobWithPayload | null> {
    if (isFinal(job.status) || ms === 0) return job
    // Asked again once more at once: it may have ended while this one was read.
    const waited = waits.wait(job.id, ms, whenGone(res))
    const meanwhile = await store.get(job.id)
    if (meanwhile !== null && isFinal(meanwhile.status)) return meanwhile
    await waited
    return store.get(job.id)
  }

  route(app, '/jobs', {
    async post(req, res) {
      const body = await readBody(req, body_limit, 'type')
      refuseWhileDraining()
      const at = now()
      const sent = idempotencyKeys(req, body, ownerOf(res), at + idempotency_window)
      const { job: accepted, deduplicated } = await submit(body, sent, at)
      const wait = preferredWait(req)
      if (wait !== null) res.setHeader('Preference-Applied', `wait=${wait / 1_000}`)
      const job = (await finalWithin(accepted, wait ?? 0, res)) ?? accepted
      res.setHeader('Location', `/jobs/${job.id}`)
      const known = deduplicated || (wait !== null && isFinal(job.status))
      const status = known ? 200 : 202
      if (wantsHtml(req)) sendFragment(req, res, status, job, true)
      else sendJsonText(res, status, deduplicated ? deduplicatedJson(job) : jobJson(job))
    },

    async get(req, res) {
      const { filter, limit, before } = readJobQuery(req.query)
      const { jobs, next } = await store.list(filter, limit, before)
      const next_cursor = next === null ? null : cursorAfter(next, filter)
      if (next_cursor !== null) res.setHeader('Link', `<${nextUrl(req, next_cursor)}>; rel="next"`)
      sendJson(res, 200, { jobs: jobs.map(jobSummary), next_cursor })
    },
  })

  route(app, '/jobs/:id', {
    async get(req, res) {
      const wait = readWait(req.query)
      const job = found(await finalWithin(found(await store.get(idOf(req)), req), wait, res), req)
      const text = jobJson(job)
      const etag = etagOf(text)
      res.setHeader('ETag', etag)
      if (!isFinal(job.status)) res.setHeader('Retry-After', askAgainIn(job, now()))
      if (!isKnown(req, etag)) return sendJsonText(res, 200, text)
      res.statusCode = 304
      res.end()
    },

    async patch(req, res) {
      const change = readAdjustment(await readBody(req, body_limit))
      sendJson(res, 200, jobSummary(found(await tracker.adjust(idOf(req), change), req)))
    },

    async delete(req, res) {
      found(await tracker.remove(idOf(req)), req)
      res.statusCode = 204
      res.end()
    },
  })

  route(app, '/jobs/:id/attempts', {
    async get(req, res) {
      found(await store.get(idOf(req)), req)
      sendJson(res, 200, { attempts: (await store.attempts(idOf(req))).map(attemptView) })
    },
  })

  route(app, '/jobs/:id/logs', {
    async get(req, res) {
      found(await store.get(idOf(req)), req)
      const { after, limit } = readLogQuery(req.query)
      const lines = await store.logs(idOf(req), after, limit + 1)
      const next_cursor = lines.length > limit ? logCursor(lines[limit - 1]) : null
      sendJson(res, 200, { logs: lines.slice(0, limit).map(logView), next_cursor })
    },
  })

  route(app, '/jobs/:id/fragment', {
    async get(req, res) {
      readNoQuery(req.query)
      sendFragment(req, res, 200, found(await store.get(idOf(req)), req))
    },
  })

  route(app, '/jobs/:id/why', {
    async get(req, res) {
      sendJson(res, 200, await why(found(await store.get(idOf(req)), req)))
    },
  })

  route(app, '/jobs/:id/cancel', {
    async post(req, res) {
      const body = inspect(cancelRequest, await readBody(req, body_limit))
      if (!body.ok) throw invalid('invalid_request', body.findings)
      const { job, answer } = found(await tracker.cancel(idOf(req), body.data.reason ?? 'cancelled on request'), req)
      if (answer === 'final') throw new ServiceError('job_final', `job ${job.id} is ${job.status} already`)
      answerJob(req, res, answer === 'cancelled' ? 200 : 202, job)
    },
  })

  route(app, '/jobs/:id/rerun', {
    async post(req, res) {
      await readBody(req, body_limit)
      typeOf(found(await store.get(idOf(req)), req).type, types)
      answerJob(req, res, 202, found(await tracker.rerun(idOf(req)), req))
    },
  })
}

/** What was asked of a job was taken. */
function answerJob(req: Request, res: Response, status: number, job: Job): void {
  if (wantsHtml(req)) sendFragment(req, res, status, job, true)
  else sendJson(res, status, jobSummary(job))
}

/** Whole seconds until a client may find the job further on, at most a minute. */
function askAgainIn({ run_at }: JobWithPayload, now: number): number {
  return run_at === null ? 1 : Math.min(60, Math.max(1, Math.ceil((run_at - now) / 1_000)))
}

function idOf(req: Request): string {
  return String(req.params.id)
}

/** @throws ServiceError job_not_found */
export function found<T>(value: T | null, req: Request): T {
  if (value === null) throw new ServiceError('job_not_found', `there is no job ${idOf(req).slice(0, 100)}`)
  return value
}

function nextUrl(req: Request, cursor: string): string {
  const parameters = new URLSearchParams({ ...(req.query as Record<string, string>), cursor })
  return `/jobs?${parameters}`
}
