// POST /jobs/cancel and /jobs/rerun: many jobs at once, by a filter, a bounded number of them a request.
import type { Express, Request } from 'express'
import { z } from 'zod'
import type { Bulk } from '../bulk.js'
import { inspect } from '../explain.js'
import { FINAL_STATUSES, OPEN_STATUSES } from '../job.js'
import type { JobFilter } from '../store/store.js'
import { invalid } from '../submission.js'
import { readBody } from './body.js'
import { cursorAfter, filterKeys, readCursor, withFirstId } from './job-query.js'
import { route, sendJson } from './reply.js'

export interface BulkRoutes {
  bulk: Bulk
  body_limit: number
}

/** The filter must be there, if only as {}: nobody should cancel all jobs by leaving it out. */
export const bulkCancel = z.strictObject({
  filter: z.strictObject({ status: oneOrMore(OPEN_STATUSES), ...filterKeys() }),
  cursor: goOn(),
  reason: z.string().min(1).max(500).default('cancelled on request'),
})
export const bulkRerun = z.strictObject({
  filter: z.strictObject({ status: oneOrMore(FINAL_STATUSES), ...filterKeys() }),
  cursor: goOn(),
})

function goOn() {
  return z.string().max(500).optional().describe('The `next_cursor` of the answer before, to go on where it ended.')
}

interface Asked {
  filter: JobFilter
  cursor?: string | undefined
}

/** @throws ServiceError invalid_query where the cursor is none, or another filter's */
export async function moveMany(bulk: Bulk, verb: 'cancel' | 'rerun', { filter, cursor }: Asked, reason: string) {
  const before = cursor === undefined ? null : readCursor(cursor, filter)
  const from = withFirstId(filter)
  const moved = verb === 'cancel' ? bulk.cancel(from, before, reason) : bulk.rerun(from, before)
  const { next, ...told } = await moved
  return { ...told, next_cursor: next === null ? null : cursorAfter(next, filter) }
}

function oneOrMore<S extends string>(statuses: readonly S[]) {
  const error = `must be one of ${statuses.join(', ')}, or a list of them`
  const one = z.enum(statuses as [S, ...S[]], error)
  return z.union([one.transform((status) => [status]), z.array(one, error).min(1)], error).default([...statuses])
}

export function bulkRoutes(app: Express, { bulk, body_limit }: BulkRoutes): void {
  async function read<B extends z.ZodType>(schema: B, req: Request): Promise<z.output<B>> {
    const body = inspect(schema, await readBody(req, body_limit))
    if (!body.ok) throw invalid('invalid_request', body.findings)
    return body.data
  }

  route(app, '/jobs/cancel', {
    async post(req, res) {
      const asked = await read(bulkCancel, req)
      const { next_cursor, ...told } = await moveMany(bulk, 'cancel', asked, asked.reason)
      sendJson(res, 200, { ...told, more: next_cursor !== null, next_cursor })
    },
  })

  route(app, '/jobs/rerun', {
    async post(req, res) {
      const { next_cursor, ...told } = await moveMany(bulk, 'rerun', await read(bulkRerun, req), '')
      sendJson(res, 200, { ...told, more: next_cursor !== null, next_cursor })
    },
  })
}
