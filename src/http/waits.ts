// How long a client wants to wait for a result: `?wait=10`, or `Prefer: wait=10` (RFC 7240).

import type { Request, Response } from 'express'
import { z } from 'zod'
import { readQuery } from './query.js'

const LONGEST_S = 60

export const waitQuery = z.strictObject({
  wait: z
    .string()
    .refine(
      (text) => /^\d{1,9}$/.test(text) && Number(text) <= LONGEST_S,
      `must be whole seconds from 0 to ${LONGEST_S}`,
    )
    .transform(Number)
    .meta({ type: 'integer', minimum: 0, maximum: LONGEST_S })
    .optional()
    .describe('Seconds to wait for the job to be final.'),
})

/**
 * Milliseconds, from the query of GET /jobs/:id.
 *
 * @throws ServiceError invalid_query
 */
export function readWait(parameters: unknown): number {
  return 1_000 * (readQuery(waitQuery, parameters).wait ?? 0)
}

/** Milliseconds, at most a minute; null where nothing is preferred. A preference that cannot be read is none. */
export function preferredWait(req: Request): number | null {
  const [, seconds] = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(String(req.headers.prefer ?? '')) ?? []
  return seconds === undefined ? null : 1_000 * Math.min(Number(seconds), LONGEST_S)
}

/** Fires when the client has gone, or has its answer. */
export function whenGone(res: Response): AbortSignal {
  const gone = new AbortController()
  res.once('close', () => gone.abort())
  return gone.signal
}
