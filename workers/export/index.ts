// The built-in job type `export`: rows of a configured database, or of jobmill's own jobs, as CSV, JSON or NDJSON.
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { z } from 'zod'
import { defineJob, type JobContext } from '../../src/define-job.js'
import { FORMATS, formatOf } from './format.js'
import { openJobRows } from './own-jobs.js'
import { DATE_PREFIX, type Rows, type Selection } from './selection.js'
import { sqlSource } from './source.js'

const MAX_COLUMNS = 200
const NAME = /^[\w-]{1,64}$/

const config = z.strictObject({ sources: z.record(z.string().regex(NAME), sqlSource).default({}) })

type Config = z.output<typeof config>
type Payload = z.output<ReturnType<typeof payload>>

const scalar = z.union(
  [z.string().max(1_000), z.number(), z.boolean(), z.null()],
  'must be a text, a number, true, false or null',
)

function payload({ sources }: Config) {
  const names = Object.keys(sources)
  const hint =
    names.length === 0
      ? 'must be left out: no jobs.export.sources are configured'
      : `must be one of ${names.join(', ')}`
  return z
    .strictObject({
      source: z
        .string()
        .refine((name) => names.includes(name), hint)
        .optional(),
      format: z.enum(FORMATS),
      filters: z
        .record(z.string().min(1).max(128), scalar)
        .refine(({ date = '2000' }) => typeof date === 'string' && DATE_PREFIX.test(date), {
          path: ['date'],
          error: 'must be the beginning of a date such as "2024", "2024-01" or "2024-01-31T08"',
        })
        .default({}),
      columns: z
        .array(z.string().min(1).max(128))
        .min(1)
        .max(MAX_COLUMNS)
        .refine((columns) => new Set(columns).size === columns.length, 'must not name a column twice')
        .optional(),
      gzip: z.boolean().default(false),
      /** CSV: a text that a spreadsheet would take for a formula gets an apostrophe before it. */
      formula_guard: z.boolean().default(true),
      file_name: z
        .string()
        .regex(/^(?!\.{1,2}$)[^/\\\p{Cc}]{1,200}$/u, 'must be a file name without folders')
        .optional(),
    })
    .refine(
      ({ source, filters }) => source === undefined || filters.date === undefined || dateColumnOf(sources, source),
      {
        path: ['filters', 'date'],
        error: 'needs a date_column of that source',
      },
    )
}

function dateColumnOf(sources: Config['sources'], name: string): boolean {
  return !Object.hasOwn(sources, name) || sources[name]?.date_column !== undefined
}

export default defineJob({
  description: 'Export rows of a configured source, or of the jobs themselves, to a file',
  payload,
  config,
  timeout: '10m',
  retry_count: 1,
  async run(payload, ctx) {
    const rows = await openRows(payload, ctx)
    try {
      return await write(rows, payload, ctx)
    } finally {
      await rows.close()
    }
  },
})

/** Drivers are loaded where they are used: each takes megabytes of every thread. */
async function openRows({ source: name, filters, columns }: Payload, ctx: JobContext<Config>): Promise<Rows> {
  const { date = null, ...equal } = filters
  const selection: Selection = { columns: columns ?? null, equal, date: date === null ? null : String(date) }
  const source = name === undefined ? undefined : ctx.config.sources[name]
  if (source === undefined) return openJobRows(ctx, selection)
  if (source.driver === 'postgres') {
    const { openPostgresRows } = await import('./postgres.js')
    return openPostgresRows(source, selection, ctx.signal)
  }
  const { openSqliteRows } = await import('./sqlite.js')
  return openSqliteRows(ctx.resolve(pathOf(source.source)), source, selection, ctx.signal)
}

/** better-sqlite3 reads no file: URIs (sqlite.org/uri.html). */
function pathOf(source: string): string {
  const [, path] = /^file:(?:\/\/(?:localhost)?(?=\/))?([^?#]*)/.exec(source) ?? []
  return path === undefined ? source : decodeURIComponent(path)
}

async function write(rows: Rows, { source = 'jobs', format: name, ...payload }: Payload, ctx: JobContext<Config>) {
  const format = formatOf(name, rows.columns, payload.formula_guard)
  const file = payload.file_name ?? `${source}.${name}${payload.gzip ? '.gz' : ''}`
  let done = 0

  async function* text(): AsyncGenerator<string> {
    yield format.head
    for await (const batch of rows.batches) {
      yield batch.map((cells, i) => format.row(cells, done + i === 0)).join('')
      done += batch.length
      await ctx.progress(
        rows.count === 0 ? 100 : (100 * done) / rows.count,
        `${grouped(done)} of ${grouped(rows.count)} rows`,
      )
    }
    yield format.tail
  }

  const content_type = payload.gzip ? 'application/gzip' : format.content_type
  const artifact = ctx.artifact(file, { content_type })
  if (payload.gzip) await pipeline(text, createGzip(), artifact, { signal: ctx.signal })
  else await pipeline(text, artifact, { signal: ctx.signal })
  return { rows: done, file }
}

function grouped(n: number): string {
  return n.toLocaleString('en-US')
}
