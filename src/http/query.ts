// Reads query strings: what is wrong with one is a 400 that names the parameter.
import { z } from 'zod'
import { TIME_SHAPE } from '../envelope.js'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'

/** @throws ServiceError invalid_query */
export function readQuery<S extends z.ZodType>(schema: S, parameters: unknown): z.output<S> {
  const checked = inspect(schema, parameters)
  if (checked.ok) return checked.data
  const [first] = checked.findings
  throw new ServiceError('invalid_query', `${first?.path.join('.')}: ${first?.message}`)
}

/** @throws ServiceError invalid_query where there is any parameter */
export function readNoQuery(parameters: unknown): void {
  readQuery(z.strictObject({}), parameters)
}

/** A time of RFC 3339 with its offset, as milliseconds since 1970. */
export function queryTime() {
  return z.iso
    .datetime({ offset: true, error: 'must be a time such as "2030-01-31T08:30:00Z"' })
    .transform((text) => Date.parse(text))
    .meta({ format: 'date-time', pattern: TIME_SHAPE })
}

/** How many entries a page may have. */
export function pageSize(usual: number, most: number) {
  return z
    .string()
    .regex(/^\d{1,9}$/, `must be a whole number from 1 to ${most}`)
    .transform(Number)
    .pipe(z.int().min(1).max(most))
    .default(usual)
    .meta({ type: 'integer', minimum: 1, maximum: most, pattern: undefined, description: 'Entries of a page.' })
}
