// The kinds of values that settings have, each with a message that says what is allowed.
import { z } from 'zod'
import type { Rate } from './slot-shares.js'
import { parseDuration } from './span.js'

/** A mapping of these keys and no others; with nothing after its colon it counts as left out. */
export function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return orEmpty(z.strictObject(shape))
}

export function orEmpty<S extends z.ZodType>(schema: S) {
  return z.preprocess((value) => value ?? {}, schema)
}

export function whole(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`
  return z
    .number(error)
    .refine((value) => Number.isInteger(value) && value >= min && value <= max, error)
    .meta({ type: 'integer', minimum: min, maximum: max })
}

export function number(min: number, max: number) {
  const error = `must be a number from ${min} to ${max}`
  return z.number(error).refine((value) => value >= min && value <= max, error)
}

/** As "10/1s": so many starts in any such span, which is as long as the store remembers them. */
export function rate() {
  const error = 'must be a rate such as "10/1s" or "500/1h": 1 to 10000 jobs in 10ms to 31d'
  return z.string(error).transform((text, ctx): Rate => {
    const [, jobs, span] = /^(\d{1,5})\/(\w+)$/.exec(text) ?? []
    const [limit, per_ms] = [Number(jobs ?? 0), parseDuration(span ?? '') ?? 0]
    if (limit >= 1 && limit <= 10_000 && per_ms >= 10 && per_ms <= 31 * 86_400_000) return { limit, per_ms }
    ctx.addIssue({ code: 'custom', message: error })
    return z.NEVER
  })
}

export function origin() {
  const error = 'must be an origin such as "https://app.example.com", without a path; "*" would let in every site'
  return z
    .string(error)
    .refine((text) => /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text, error)
}

export function host() {
  const error = 'must be a host name or an address, without a port'
  return z.string(error).regex(/^[\w.:%-]+$/, error)
}

export function folder() {
  const error = 'must be the path of a folder'
  return z.string(error).regex(/\S/, error)
}

/** Where the jobs are kept: a file of SQLite, or a schema of a PostgreSQL database. */
export function database() {
  const keys = z.strictObject({
    driver: z.enum(['sqlite3', 'sqlite', 'postgres'], { error: 'must be "sqlite3" or "postgres"' }).prefault('sqlite3'),
    source: z.string('must be a path, a "file:" URI or a "postgres://" URL').optional(),
    schema: schemaName().prefault('jobmill'),
  })
  return orEmpty(
    keys.transform(({ driver, source, schema }, ctx): DatabaseSource => {
      const parsed = driver === 'postgres' ? postgresSource(source, schema) : sqliteSource(source)
      if (typeof parsed !== 'string') return parsed
      ctx.addIssue({ code: 'custom', path: ['source'], message: parsed })
      return z.NEVER
    }),
  )
}

export type DatabaseSource = DatabaseFile | { driver: 'postgres'; source: string; schema: string }

export interface DatabaseFile {
  driver: 'sqlite'
  /** Absolute, or relative to `Config.dir`. */
  path: string
  /** Names of parameters that have no effect. */
  unused: string[]
}

const DEFAULT_FILE = 'file:jobs.db?cache=shared&_fk=1'

/** As a connection URI of PostgreSQL (its manual, 34.1.1.2); what the server makes of it shows when it is asked. */
function postgresSource(source: string | undefined, schema: string): DatabaseSource | string {
  const url = source !== undefined && /^postgres(ql)?:\/\//.test(source) && URL.canParse(source)
  if (!url) return 'must be a URL such as "postgres://user:password@host:5432/database" with the driver postgres'
  return { driver: 'postgres', source, schema }
}

function schemaName() {
  const error = 'must be a name of up to 50 small letters, digits and _ that does not begin with a digit or "pg_"'
  return z.string(error).regex(/^(?!pg_)[a-z_][a-z0-9_]{0,49}$/, error)
}

/** A plain path, or a URI as SQLite reads it (sqlite.org/uri.html), which better-sqlite3 does not; or what it must be. */
export function sqliteSource(text = DEFAULT_FILE): DatabaseFile | string {
  const [uri, host = '', encoded = '', query = ''] = /^file:(?:\/\/([^/?#]*))?([^?#]*)\??([^#]*)/.exec(text) ?? []
  if (uri === undefined && /^\w+:\/\//.test(text))
    return /^postgres(ql)?:/.test(text)
      ? 'must be a path or a "file:" URI, or have driver: postgres beside it'
      : 'must be a path or a "file:" URI'
  if (host !== '' && host !== 'localhost') return 'must not name a host: write file:jobs.db or file:///folder/jobs.db'
  const path = uri === undefined ? text : decode(encoded)
  if (path === null || path.includes('\0')) return 'must have valid percent-encoding and no NUL'
  const parameters = [...new URLSearchParams(query)].map(([name, value]) => ({ name, text: `${name}=${value}` }))
  if (path.trim() === '' || path === ':memory:' || parameters.some(({ text }) => text === 'mode=memory'))
    return 'must name a file, what is only in memory does not survive a restart'
  return {
    driver: 'sqlite',
    path,
    unused: parameters.filter(({ text }) => !HARMLESS.includes(text)).map(({ name }) => name),
  }
}

/** They stand in the default: a warning about them would be the first that everybody sees. */
const HARMLESS = ['cache=shared', '_fk=1']

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
