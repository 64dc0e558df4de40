// What is refused of JSON that parses: values that would be kept as something else, or that later code cannot walk.
import { ServiceError } from './errors.js'

/** Deeper values parse, but make JSON.stringify and structuredClone throw later. */
const MAX_DEPTH = 64

/** @throws ServiceError malformed_request */
export function refuseExtremes(value: unknown, depth = 1): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new ServiceError('malformed_request', 'a number in the body is too large to be kept')
  }
  if (value === null || typeof value !== 'object') return
  if (depth > MAX_DEPTH)
    throw new ServiceError('malformed_request', `the body is nested deeper than ${MAX_DEPTH} levels`)
  for (const inner of Object.values(value)) refuseExtremes(inner, depth + 1)
}
