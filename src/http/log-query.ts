// Reads the query string of GET /jobs/:id/logs.
import { z } from 'zod'
import type { LogLine } from '../store/store.js'
import { pageSize, readQuery } from './query.js'

export const logQuery = z.strictObject({
  limit: pageSize(500, 1_000),
  cursor: z
    .string()
    .regex(/^\d{1,9}\.\d{1,9}$/, 'is not one that this route gave')
    .optional()
    .describe('`next_cursor` of the page before.'),
})

/** @throws ServiceError invalid_query */
export function readLogQuery(parameters: unknown): { after: { run: number; line: number }; limit: number } {
  const { limit, cursor = '0.0' } = readQuery(logQuery, parameters)
  const [run = 0, line = 0] = cursor.split('.').map(Number)
  return { after: { run, line }, limit }
}

export function logCursor(last: LogLine | undefined): string | null {
  return last === undefined ? null : `${last.run}.${last.line}`
}
