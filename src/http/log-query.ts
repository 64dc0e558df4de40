// Reads the query string of GET /jobs/:id/logs.
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import type { LogLine } from '../store/store.js'

const DEFAULT_LIMIT = 500
const MAX_LIMIT = 1_000

const query = z.strictObject({
  limit: z
    .string()
    .regex(/^\d{1,9}$/, `must be a whole number from 1 to ${MAX_LIMIT}`)
    .transform(Number)
    .pipe(z.int().min(1).max(MAX_LIMIT))
    .default(DEFAULT_LIMIT),
  cursor: z
    .string()
    .regex(/^\d{1,9}\.\d{1,9}$/, 'is not one that this route gave')
    .optional(),
})

/** @throws ServiceError invalid_query */
export function readLogQuery(parameters: unknown): { after: { run: number; line: number }; limit: number } {
  const checked = inspect(query, parameters)
  if (!checked.ok) {
    const [first] = checked.findings
    throw new ServiceError('invalid_query', `${first?.path.join('.')}: ${first?.message}`)
  }
  const { limit, cursor = '0.0' } = checked.data
  const [run = 0, line = 0] = cursor.split('.').map(Number)
  return { after: { run, line }, limit }
}

export function logCursor(last: LogLine | undefined): string | null {
  return last === undefined ? null : `${last.run}.${last.line}`
}
