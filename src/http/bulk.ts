// POST /jobs/cancel and /jobs/rerun: many jobs at once, by a filter, a bounded number of them a request.
import type { Express, Request } from 'express'
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import { FINAL_STATUSES, type FinalStatus, isFinal, JOB_STATUSES, type Job, type JobStatus } from '../job.js'
import type { JobTypes } from '../job-types.js'
import type { JobFilter, Store } from '../store/store.js'
import { invalid } from '../submission.js'
import type { JobTracker } from '../tracker.js'
import { readBody } from './body.js'
import { filterKeys, withFirstId } from './job-query.js'
import { route, sendJson } from './reply.js'

export interface BulkRoutes {
  store: Store
  tracker: JobTracker
  types: JobTypes
  body_limit: number
}

/** Jobs that one request moves at the most; `more` tells that there were more. */
const MOST = 1_000
/** They share a transaction. */
const PIECE = 100

const OPEN_STATUSES = JOB_STATUSES.filter((status): status is Exclude<JobStatus, FinalStatus> => !isFinal(status))

/** The filter must be there, if only as {}: nobody should cancel all jobs by leaving it out. */
export const bulkCancel = z.strictObject({
  filter: z.strictObject({ status: oneOrMore(OPEN_STATUSES), ...filterKeys() }),
  reason: z.string().min(1).max(500).default('cancelled on request'),
})
export const bulkRerun = z.strictObject({
  filter: z.strictObject({ status: oneOrMore(FINAL_STATUSES), ...filterKeys() }),
})

function oneOrMore<S extends string>(statuses: readonly S[]) {
  const error = `must be one of ${statuses.join(', ')}, or a list of them`
  const one = z.enum(statuses as [S, ...S[]], error)
  return z.union([one.transform((status) => [status]), z.array(one, error).min(1)], error).default([...statuses])
}

export function bulkRoutes(app: Express, { store, tracker, types, body_limit }: BulkRoutes): void {
  async function read<B extends z.ZodType>(schema: B, req: Request): Promise<z.output<B>> {
    const body = inspect(schema, await readBody(req, body_limit))
    if (!body.ok) throw invalid('invalid_request', body.findings)
    return body.data
  }

  /** Does `move` to the jobs that fit, newest first, and answers whether some are left. */
  async function each(filter: JobFilter, move: (job: Job) => Promise<void>): Promise<boolean> {
    let before: string | null = null
    for (let seen = 0; seen < MOST; ) {
      const { jobs, next } = await store.list(filter, PIECE, before)
      await Promise.all(jobs.map(move))
      if (next === null) return false
      seen += jobs.length
      before = next
    }
    return (await store.list(filter, 1, before)).jobs.length > 0
  }

  route(app, '/jobs/cancel', {
    async post(req, res) {
      const { filter, reason } = await read(bulkCancel, req)
      const done = { cancelled: 0, requested: 0, final: 0 }
      const more = await each(withFirstId(filter), async ({ id }) => {
        const answer = await tracker.cancel(id, reason)
        if (answer !== null) done[answer.answer] += 1
      })
      sendJson(res, 200, { cancelled: done.cancelled, asked_to_stop: done.requested, more })
    },
  })

  route(app, '/jobs/rerun', {
    async post(req, res) {
      const { filter } = await read(bulkRerun, req)
      const done = { rerun: 0, without_type: 0 }
      const more = await each(withFirstId(filter), async ({ id, type }) => {
        if (types.get(type)?.disabled !== null) done.without_type += 1
        else if ((await rerunUnlessMoved(id)) !== null) done.rerun += 1
      })
      sendJson(res, 200, { ...done, more })
    },
  })

  /** Somebody else may have run it again, or deleted it, since it was listed. */
  function rerunUnlessMoved(id: string): Promise<Job | null> {
    return tracker.rerun(id).catch((error: unknown) => {
      if (error instanceof ServiceError && error.code === 'job_not_final') return null
      throw error
    })
  }
}
