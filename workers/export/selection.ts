// What a payload selects: which columns, and which rows by equality or by the beginning of a date.
import { InvalidPayloadError, NonRetryableError } from '../../src/define-job.js'

export type Scalar = string | number | boolean | null

export interface Selection {
  /** Null: all columns. */
  columns: string[] | null
  /** By column. */
  equal: Record<string, Scalar>
  /** The beginning of a time, such as "2024-01". */
  date: string | null
}

/** A value of a row. Large integers are bigints; `raw` is a number or a JSON text that is written as it stands. */
export type Cell = string | number | bigint | boolean | null | Uint8Array | { raw: string; kind: 'number' | 'json' }

export interface Rows {
  columns: string[]
  /** How many rows `batches` will give. */
  count: number
  batches: AsyncIterable<Cell[][]>
  close(): Promise<void>
}

export const DATE_PREFIX =
  /^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])([T ]([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d)?)?)?)?)?$/

/** The span that begins with `prefix`, in UTC: milliseconds since 1970, from the first to before the last. */
export function spanOf(prefix: string): { from: number; to: number } {
  const [year = 0, month, day, hour, minute, second] = prefix.split(/[-T :]/).map(Number)
  const given = [month, day, hour, minute, second].filter((part) => part !== undefined).length
  const start = [year, (month ?? 1) - 1, day ?? 1, hour ?? 0, minute ?? 0, second ?? 0] as const
  const next = start.map((part, i) => (i === given ? part + 1 : part)) as unknown as typeof start
  return { from: Date.UTC(...start), to: Date.UTC(...next) }
}

/** The columns to write: those of the payload, or all. Those of a query must have names of their own. */
export function chosenColumns(existing: readonly string[], { columns, equal }: Selection): string[] {
  const twice = existing.find((name, i) => existing.indexOf(name) !== i)
  if (twice !== undefined) throw new NonRetryableError(`the query of the source has two columns "${twice}"`)
  for (const [field, names] of [
    ['columns', columns ?? []],
    ['filters', Object.keys(equal)],
  ] as const) {
    const unknown = names.find((name) => !existing.includes(name))
    if (unknown !== undefined)
      throw new InvalidPayloadError(`${field}: there is no column "${unknown}", there are ${listed(existing)}`)
  }
  return columns ?? [...existing]
}

const MAX_LISTED = 30

function listed(names: readonly string[]): string {
  return names.slice(0, MAX_LISTED).join(', ') + (names.length > MAX_LISTED ? ' and more' : '')
}
