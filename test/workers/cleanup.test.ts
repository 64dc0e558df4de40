// The job type `cleanup`: what may be asked of it, what may be configured, what it answers.
import { existsSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type BetterSqlite3 from 'better-sqlite3'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type JobContext, type PruneFilter, sqlitePackage } from '../../src/define-job.js'
import { duration } from '../../src/duration.js'
import { inspect } from '../../src/explain.js'
import { parseDuration } from '../../src/span.js'
import cleanup from '../../workers/cleanup/index.js'
import { parseSpan, span } from '../../workers/cleanup/span.js'
import { handlerContext } from '../support/context.js'
import { freshFolder } from '../support/folder.js'

const DAY_MS = 86_400_000

const configSchema = given(cleanup.config)
const payloadOf = given(cleanup.payload)

type Config = z.output<typeof configSchema>
type Context = JobContext<Config>

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the type has both schemas')
  return value
}

function payloadSchema(config: z.input<typeof configSchema> = {}) {
  if (typeof payloadOf !== 'function') throw new Error('the schema follows from the configuration')
  return payloadOf(configSchema.parse(config))
}

const context = (config: z.input<typeof configSchema>, folder?: string, parts?: Partial<Context>): Context =>
  handlerContext(configSchema.parse(config), folder, parts)

async function run(payload: unknown, ctx: Context): Promise<unknown> {
  return cleanup.run(payloadSchema(ctx.config).parse(payload), ctx)
}

/** What a client is told of a payload. */
function problems(payload: unknown, config?: z.input<typeof configSchema>): string[] {
  const inspected = inspect(payloadSchema(config), payload)
  return inspected.ok ? [] : inspected.findings.map(({ path, message }) => `${path.join('.')}: ${message}`)
}

/** Final jobs, by the time they ended: pieces of two. */
function jobStore(finished: number[]) {
  const asked: { filter: PruneFilter; cursor: string | null }[] = []
  const left = [...finished]
  return {
    asked,
    left,
    async prune(filter: PruneFilter, cursor: string | null = null) {
      asked.push({ filter, cursor })
      const start = Number(cursor ?? 0)
      const old = left.filter((at) => at < filter.finished_before)
      const piece = old.slice(start, start + 2)
      if (!filter.dry_run) for (const at of piece) left.splice(left.indexOf(at), 1)
      const more = start + 2 < old.length
      const next_cursor = more ? String(filter.dry_run ? start + 2 : 0) : null
      return { jobs: piece.length, bytes: 100 * piece.length, next_cursor }
    },
  }
}

function jobsContext(prune: JobContext['jobs']['prune']): Pick<Context, 'jobs'> {
  return { jobs: { ...handlerContext(null).jobs, prune } }
}

const ALL = { roots: ['files'], tables: [{ source: 'app.db', table: 'events', date_column: 'at' }] }

/** A folder with something old and something young for each target. */
function filled() {
  const folder = freshFolder({ 'files/old': 'four', 'files/young': 'x' })
  utimesSync(join(folder, 'files/old'), 1, 1)
  const Sqlite: typeof BetterSqlite3 = createRequire(import.meta.url)(sqlitePackage())
  const db = new Sqlite(join(folder, 'app.db'))
  db.exec(`CREATE TABLE events (at TEXT); INSERT INTO events VALUES ('2001-01-01'), ('2099-01-01')`)
  db.close()
  return { folder, jobs: jobStore([1, 2, 3, Date.now()]) }
}

describe('a cleanup', () => {
  test('of all targets answers with counts and bytes, and finds nothing the second time', async () => {
    const { folder, jobs } = filled()
    const ctx = context(ALL, folder, jobsContext(jobs.prune))
    const begun = Date.now()
    const result = await run({ older_than: '30d' }, ctx)
    const ended = Date.now()
    expect(result).toEqual({
      dry_run: false,
      older_than: '30d',
      before: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      jobs: { deleted: 3, bytes: 300 },
      files: { deleted: 1, folders: 0, bytes: 4, skipped: 0, errors: 0, error_samples: [] },
      tables: [{ table: 'events', deleted: 1 }],
    })
    const before = Date.parse(z.object({ before: z.string() }).parse(result).before)
    expect(before).toBeGreaterThanOrEqual(begun - 30 * DAY_MS)
    expect(before).toBeLessThanOrEqual(ended - 30 * DAY_MS)
    expect(jobs.asked.map(({ filter }) => filter.finished_before)).toEqual([before, before])
    expect(jobs.left).toHaveLength(1)
    expect(await run({ older_than: '30d' }, ctx)).toMatchObject({
      jobs: { deleted: 0, bytes: 0 },
      files: { deleted: 0, bytes: 0 },
      tables: [{ table: 'events', deleted: 0 }],
    })
  })

  test('that is dry answers the same numbers and changes nothing', async () => {
    const { folder, jobs } = filled()
    const ctx = context(ALL, folder, jobsContext(jobs.prune))
    const dry = await run({ older_than: 2_592_000, dry_run: true }, ctx)
    expect(dry).toMatchObject({ dry_run: true, older_than: 2_592_000, jobs: { deleted: 3 }, files: { deleted: 1 } })
    expect(jobs.left).toHaveLength(4)
    expect(existsSync(join(folder, 'files/old'))).toBe(true)
    const { before: _, ...numbers } = z.record(z.string(), z.unknown()).parse(dry)
    expect(await run({ older_than: 2_592_000 }, ctx)).toMatchObject({ ...numbers, dry_run: false })
  })

  test('touches and names only the targets that were asked for', async () => {
    const { folder, jobs } = filled()
    const ctx = context(ALL, folder, jobsContext(jobs.prune))
    const parts = async (targets: string[]) => {
      const result = await run({ older_than: '30d', targets }, ctx)
      return Object.keys(z.record(z.string(), z.unknown()).parse(result)).slice(3)
    }
    expect(await parts(['tables'])).toEqual(['tables'])
    expect([jobs.asked.length, existsSync(join(folder, 'files/old'))]).toEqual([0, true])
    expect(await parts(['files', 'jobs'])).toEqual(['jobs', 'files'])
  })

  test('shows how much of the targets is done, and what that was', async () => {
    const { folder, jobs } = filled()
    const seen: [number, string | undefined][] = []
    const progress = async (percent: number, note?: string) => void seen.push([Math.round(percent), note])
    await run({ older_than: '30d' }, context(ALL, folder, { ...jobsContext(jobs.prune), progress }))
    // On a busy machine there are further ones between: what counts is the last one of each target.
    const last = new Map(seen)
    expect([33, 67, 100].map((percent) => last.get(percent))).toEqual([
      '3 jobs, 300 B',
      '3 jobs, 1 file, 304 B',
      '3 jobs, 1 file, 1 row, 304 B',
    ])
  })

  test('that is cancelled stops between two pieces of jobs', async () => {
    const jobs = jobStore([1, 2, 3, 4, 5])
    const controller = new AbortController()
    const prune: typeof jobs.prune = async (...asked) => {
      controller.abort('cancelled')
      return jobs.prune(...asked)
    }
    const ctx = context({}, undefined, { ...jobsContext(prune), signal: controller.signal })
    await expect(run({ older_than: '30d' }, ctx)).rejects.toBe('cancelled')
    expect(jobs.left).toEqual([3, 4, 5])
  })

  test('that is cancelled before it begins deletes nothing', async () => {
    const { folder } = filled()
    const ctx = context(ALL, folder, { signal: AbortSignal.abort('shutdown') })
    for (const targets of [['files'], ['tables']])
      await expect(run({ older_than: '30d', targets }, ctx)).rejects.toBe('shutdown')
    expect(existsSync(join(folder, 'files/old'))).toBe(true)
  })

  test('goes by one time of the day, however long it takes', async () => {
    const folder = freshFolder()
    mkdirSync(join(folder, 'files'))
    const jobs = jobStore([])
    const prune: typeof jobs.prune = async (filter, cursor) => {
      // Older than a second when the files are looked at, and not when the job began.
      const at = (filter.finished_before + 1) / 1_000
      writeFileSync(join(folder, 'files/recent'), 'x')
      utimesSync(join(folder, 'files/recent'), at, at)
      return jobs.prune(filter, cursor)
    }
    const ctx = context({ roots: ['files'] }, folder, jobsContext(prune))
    expect(await run({ older_than: 1 }, ctx)).toMatchObject({ files: { deleted: 0 } })
  })

  test('fails for good where a root is a link to the whole file system', async () => {
    const folder = freshFolder()
    symlinkSync('/', join(folder, 'link'))
    const running = run(
      { older_than: '3650d', dry_run: true, targets: ['files'] },
      context({ roots: ['link'] }, folder),
    )
    await expect(running).rejects.toMatchObject({ retryable: false })
  })
})

describe('the payload', () => {
  test('of the documented line is taken, with all targets that are configured', () => {
    expect(payloadSchema().parse({ older_than: '30d' })).toEqual({
      older_than: '30d',
      dry_run: false,
      targets: ['jobs'],
    })
    expect(payloadSchema({ ...ALL, delete_jobs: false }).parse({ older_than: '30d' })).toMatchObject({
      targets: ['files', 'tables'],
    })
  })

  test('that was checked once is still good', () => {
    const checked = payloadSchema(ALL).parse({ older_than: 90.5 })
    expect(payloadSchema(ALL).parse(checked)).toEqual(checked)
  })

  test.each<[string, unknown, string[], z.input<typeof configSchema>?]>([
    [
      'without an age',
      {},
      ['older_than: must be a number of seconds, or a text such as "500ms", "90s", "10m", "2h", "30d", is missing'],
    ],
    ['with an age below a second', { older_than: '999ms' }, ['older_than: must be between 1s and 3650d, is "999ms"']],
    [
      'with an unknown field',
      { older_than: 1, force: true },
      ['force: unknown key, known here: older_than, dry_run, targets'],
    ],
    ['with a word for dry_run', { older_than: 1, dry_run: 'yes' }, ['dry_run: must be true or false, is "yes"']],
    ['with no targets', { older_than: 1, targets: [] }, ['targets: must name at least one of: jobs, is a list']],
    [
      'with a target twice',
      { older_than: 1, targets: ['jobs', 'jobs'] },
      ['targets: must not name a target twice, is a list'],
    ],
    [
      'with an unknown target',
      { older_than: 1, targets: ['mails'] },
      ['targets.0: must be one of what jobs.cleanup configures: jobs, is "mails"'],
    ],
    [
      'with a target that is not configured',
      { older_than: 1, targets: ['jobs', 'tables'] },
      ['targets.1: must be one of what jobs.cleanup configures: jobs, files, is "tables"'],
      { roots: ['a'] },
    ],
    [
      'where nothing is configured',
      { older_than: 1 },
      ['targets: nothing is configured to be cleaned up: set roots, tables or delete_jobs under jobs.cleanup'],
      { delete_jobs: false },
    ],
  ])('%s is refused, in words', (_, payload, expected, config) => {
    expect(problems(payload, config)).toEqual(expected)
  })

  test('is described to clients', () => {
    const description = z.toJSONSchema(payloadSchema(ALL), { io: 'input', unrepresentable: 'any' })
    expect(description).toMatchObject({
      required: ['older_than'],
      additionalProperties: false,
      properties: { targets: { type: 'array', items: { enum: ['jobs', 'files', 'tables'] } } },
    })
  })
})

describe('an age', () => {
  const spans = fc.oneof(
    fc.string(),
    fc.double(),
    fc.integer({ min: -10, max: 400_000_000 }),
    fc.tuple(fc.nat(), fc.constantFrom('ms', 's', 'm', 'h', 'd', 'w', 'y', '', 'D')).map(([n, unit]) => `${n}${unit}`),
    fc.constantFrom<string | number>(
      '90',
      '-5m',
      ' 5m',
      '5m\n',
      '1.5h',
      '1e3s',
      '٣s',
      '3650d',
      '3651d',
      'toString',
      '2w',
    ),
  )

  test('is read as spans are everywhere', () => {
    const same = fc.property(spans, (value) => {
      expect(parseSpan(value)).toBe(parseDuration(value))
    })
    fc.assert(same, { numRuns: 2_000 })
  })

  test('is refused in the same words as spans are everywhere', () => {
    const everywhere = duration({ min: 1_000 })
    const words = (schema: z.ZodType, value: unknown) =>
      schema.safeParse(value).error?.issues.map(({ message }) => message)
    const values = fc.oneof(spans, fc.constantFrom<unknown>(null, undefined, true, {}, [], [1]))
    const same = fc.property(values, (value) => {
      expect(words(span, value)).toEqual(words(everywhere, value))
    })
    fc.assert(same, { numRuns: 2_000 })
  })
})

describe('the configuration', () => {
  test('has defaults: jobs only', () => {
    expect(configSchema.parse({})).toEqual({ roots: [], tables: [], delete_jobs: true })
  })

  const table = { source: 'app.db', table: 'events', date_column: 'at' }

  test.each<[string, unknown, PropertyKey[]]>([
    ['an unknown key', { root: ['a'] }, []],
    ['one root', { roots: 'a' }, ['roots']],
    ['an empty root', { roots: ['a', ''] }, ['roots', 1]],
    ['a root with NUL', { roots: ['a\0b'] }, ['roots', 0]],
    ['the root of the file system', { roots: ['/'] }, ['roots', 0]],
    ['the root of the file system by another name', { roots: ['/tmp/../..//'] }, ['roots', 0]],
    ['a word for delete_jobs', { delete_jobs: 'no' }, ['delete_jobs']],
    ['a table without a column', { tables: [{ source: 'a', table: 'b' }] }, ['tables', 0, 'date_column']],
    ['a table with an unknown key', { tables: [{ ...table, where: '1' }] }, ['tables', 0]],
    ['a table without a name', { tables: [{ ...table, table: '' }] }, ['tables', 0, 'table']],
    ['another kind of database', { tables: [{ ...table, source: 'mysql://a/b' }] }, ['tables', 0, 'source']],
    ['a database in memory', { tables: [{ ...table, source: ':memory:' }] }, ['tables', 0, 'source']],
    ['a URI that names a host', { tables: [{ ...table, source: 'file://host/a.db' }] }, ['tables', 0, 'source']],
    ['bad percent-encoding', { tables: [{ ...table, source: 'file:%zz' }] }, ['tables', 0, 'source']],
    [
      'a password that is not encoded',
      { tables: [{ ...table, source: 'postgres://a:1%x@b/c' }] },
      ['tables', 0, 'source'],
    ],
  ])('may not have %s', (_, config, path) => {
    expect(configSchema.safeParse(config).error?.issues).toMatchObject([{ path }])
  })

  test('does not repeat a source that may hold a password', () => {
    const source = 'mysql://user:geheim@host/db'
    const inspected = inspect(configSchema, { tables: [{ ...table, source }] })
    expect(JSON.stringify(inspected)).not.toContain('geheim')
    expect(inspected).toMatchObject({ ok: false, findings: [{ path: ['tables', 0, 'source'] }] })
  })
})
