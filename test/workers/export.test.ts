// The job type `export` over real SQLite files: what is refused, what is written, and that other readers read the same.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { type JobContext, NonRetryableError } from '../../src/define-job.js'
import { inspect } from '../../src/explain.js'
import { Database } from '../../src/store/sqlite/binding.js'
import exportType from '../../workers/export/index.js'
import { handlerContext } from '../support/context.js'
import { freshFolder } from '../support/folder.js'

const configSchema = exportType.config as z.ZodType
type Config = Parameters<Extract<typeof exportType.payload, (config: never) => unknown>>[0]

function payloadSchema(config: object): z.ZodType {
  if (typeof exportType.payload !== 'function') throw new Error('the payload depends on the sources')
  return exportType.payload(configSchema.parse(config) as Config)
}

/** What POST /jobs would say of the payload. */
function refusals(payload: unknown, config: object = {}): string[] {
  const checked = inspect(payloadSchema(config), payload)
  return checked.ok ? [] : checked.findings.map(({ path, message }) => `${path.join('.')}: ${message}`)
}

/** Runs an export of `sql`'s table t, as the source "shop"; answers what it returned and what it wrote. */
async function exported(
  payload: object,
  { sql = '', source = { table: 't' } as object, parts = {} as Partial<JobContext<Config>> } = {},
) {
  const folder = freshFolder()
  const db = new Database(join(folder, 'shop.db'))
  db.exec(sql)
  db.close()
  const config = { sources: { shop: { driver: 'sqlite3', source: 'shop.db', ...source } } }
  const ctx = handlerContext(configSchema.parse(config) as Config, folder, parts)
  const whole = payloadSchema(config).parse({ source: 'shop', format: 'csv', ...payload }) as never
  const result = (await exportType.run(whole, ctx)) as { rows: number; file: string }
  const bytes = readFileSync(join(folder, 'artifacts', result.file))
  return { result, bytes, text: bytes.toString('utf8') }
}

const failure = (running: Promise<unknown>): Promise<Error & { code?: string }> =>
  running.then(
    () => Promise.reject(new Error('nothing failed')),
    (error) => error,
  )

const SHOP = { sources: { shop: { driver: 'sqlite3', source: 'shop.db', table: 'orders', date_column: 'ordered_at' } } }

describe('the payload', () => {
  test.each([
    [{ format: 'csv' }, {}],
    [{ format: 'csv', filters: { date: '2024-01' } }, {}],
    [
      { format: 'ndjson', source: 'shop', filters: { date: '2024-01-31T08', paid: true, note: null }, gzip: true },
      SHOP,
    ],
    [{ format: 'json', source: 'shop', columns: ['id', 'total'], file_name: 'Umsätze.json' }, SHOP],
  ])('%j is right', (payload, config) => {
    expect(refusals(payload, config)).toEqual([])
  })

  test.each([
    [{}, {}, 'format: must be "csv" or "json" or "ndjson", is missing'],
    [{ format: 'xml' }, {}, 'format: must be "csv" or "json" or "ndjson", is "xml"'],
    [{ format: 'csv', source: 'shop' }, {}, 'source: must be left out: no jobs.export.sources are configured'],
    [{ format: 'csv', source: 'shp' }, SHOP, 'source: must be one of shop'],
    [{ format: 'csv', source: '__proto__' }, SHOP, 'source: must be one of shop'],
    [{ format: 'csv', filters: { date: '2024-13' } }, {}, 'filters.date: must be the beginning of a date'],
    [{ format: 'csv', filters: { date: '20' } }, {}, 'filters.date: must be the beginning of a date'],
    [{ format: 'csv', filters: { date: 2024 } }, {}, 'filters.date: must be the beginning of a date'],
    [{ format: 'csv', filters: { id: [1] } }, {}, 'filters.id: must be a text, a number, true, false or null'],
    [{ format: 'csv', columns: [] }, {}, 'columns: must have at least 1 entries'],
    [{ format: 'csv', columns: ['a', 'a'] }, {}, 'columns: must not name a column twice'],
    [{ format: 'csv', file_name: '../x' }, {}, 'file_name: must be a file name without folders'],
    [{ format: 'csv', colums: ['a'] }, {}, 'colums: unknown key, did you mean "columns"?'],
    [
      { format: 'csv', source: 'plain', filters: { date: '2024' } },
      { sources: { plain: { driver: 'sqlite', source: 'a.db', table: 't' } } },
      'filters.date: needs a date_column of that source',
    ],
  ])('%j is refused: %#', (payload, config, message) => {
    expect(refusals(payload, config)).toContainEqual(expect.stringContaining(message))
  })

  test.each([
    { sources: { a: { driver: 'mysql', source: 'x', table: 't' } } },
    { sources: { a: { driver: 'sqlite3', source: 'x' } } },
    { sources: { a: { driver: 'sqlite3', source: 'x', table: 't', query: 'SELECT 1' } } },
    { sources: { 'a b': { driver: 'sqlite3', source: 'x', table: 't' } } },
  ])('a wrong configuration is refused: %j', (config) => {
    expect(configSchema.safeParse(config).success).toBe(false)
  })
})

const MATRIX = `CREATE TABLE t (n INTEGER, big INTEGER, real REAL, text TEXT, bytes BLOB, day TEXT);
  INSERT INTO t VALUES (1, 9007199254740993, 0.1, 'plain', x'00ff', '2024-01-31T08:30:00Z'),
    (-5, -9223372036854775808, -1e300, 'a "b", c' || char(13, 10) || 'ü€😀', x'', NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL), (0, 0, 0, '', NULL, '2024-02-01');`

describe('the formats', () => {
  test('CSV is RFC 4180: CRLF, quotes where needed, NULL empty and an empty text quoted', async () => {
    const { text, result } = await exported({}, { sql: MATRIX })
    expect(text).toBe(
      [
        'n,big,real,text,bytes,day',
        '1,9007199254740993,0.1,plain,AP8=,2024-01-31T08:30:00Z',
        '-5,-9223372036854775808,-1e+300,"a ""b"", c\r\nü€😀",,',
        ',,,,,',
        '0,0,0,"",,2024-02-01',
        '',
      ].join('\r\n'),
    )
    expect(result).toEqual({ rows: 4, file: 'shop.csv' })
  })

  test('JSON keeps numbers that a double holds, and gives larger ones as texts', async () => {
    const { text } = await exported({ format: 'json' }, { sql: MATRIX })
    expect(JSON.parse(text)[0]).toEqual({
      n: 1,
      big: '9007199254740993',
      real: 0.1,
      text: 'plain',
      bytes: 'AP8=',
      day: '2024-01-31T08:30:00Z',
    })
    expect(JSON.parse(text)[2]).toEqual({ n: null, big: null, real: null, text: null, bytes: null, day: null })
    const lines = (await exported({ format: 'ndjson' }, { sql: MATRIX })).text
    expect(
      lines
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(JSON.parse(text))
  })

  test('no rows are a header, an empty array, an empty file', async () => {
    const sql = 'CREATE TABLE t (a, b)'
    expect((await exported({}, { sql })).text).toBe('a,b\r\n')
    expect(JSON.parse((await exported({ format: 'json' }, { sql })).text)).toEqual([])
    expect((await exported({ format: 'ndjson' }, { sql })).text).toBe('')
  })

  test('gzip is what gunzip reads', async () => {
    const plain = await exported({}, { sql: MATRIX })
    const { bytes, result } = await exported({ gzip: true }, { sql: MATRIX })
    expect(gunzipSync(bytes).toString()).toBe(plain.text)
    expect(result.file).toBe('shop.csv.gz')
  })

  test('a text that a spreadsheet would run is guarded, unless that is turned off; numbers are left alone', async () => {
    const evil = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '＝1+1']
    const rows = evil.map((text) => `('${text}', -1)`).join()
    const sql = `CREATE TABLE t (text TEXT, n INTEGER); INSERT INTO t VALUES ${rows}`
    const read = (text: string) => (parse(text, { from_line: 2 }) as string[][]).map(([first, n]) => [first, n])
    expect(read((await exported({}, { sql })).text)).toEqual(evil.map((text) => [`'${text}`, '-1']))
    expect(read((await exported({ formula_guard: false }, { sql })).text)).toEqual(evil.map((text) => [text, '-1']))
    const json = JSON.parse((await exported({ format: 'json' }, { sql })).text) as { text: string }[]
    expect(json.map(({ text }) => text)).toEqual(evil)
  })

  test('any values come back from readers that are not ours', async () => {
    const texts = fc.string({ unit: 'grapheme' }).filter((text) => text.isWellFormed() && !text.includes('\0'))
    const cell = fc.oneof(texts, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.constant(null))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(cell, cell, fc.uint8Array()), { minLength: 1, maxLength: 20 }),
        async (rows) => {
          const folder = freshFolder()
          const db = new Database(join(folder, 'shop.db'))
          db.exec('CREATE TABLE t (a ANY, "b, ""c""" ANY, d BLOB) STRICT')
          for (const row of rows)
            db.prepare('INSERT INTO t VALUES (?, ?, ?)').run(
              ...row.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value)),
            )
          db.close()
          const config = { sources: { shop: { driver: 'sqlite3', source: 'shop.db', table: 't' } } }
          const ctx = handlerContext(configSchema.parse(config) as Config, folder)
          const run = async (payload: object) => {
            const file = `f${Math.random()}`
            const whole = payloadSchema(config).parse({
              source: 'shop',
              formula_guard: false,
              file_name: file,
              ...payload,
            })
            await exportType.run(whole as never, ctx)
            return readFileSync(join(folder, 'artifacts', file), 'utf8')
          }
          const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
          const csv = parse(await run({ format: 'csv' }), { columns: true }) as Record<string, string>[]
          expect(csv).toEqual(
            rows.map(([a, b, d]) => ({ a: String(a ?? ''), 'b, "c"': String(b ?? ''), d: base64(d) })),
          )
          const safe = (value: unknown) =>
            typeof value === 'bigint' ? (Number.isSafeInteger(Number(value)) ? Number(value) : String(value)) : value
          const json = JSON.parse(await run({ format: 'json' }))
          expect(json).toEqual(rows.map(([a, b, d]) => ({ a: safe(a), 'b, "c"': safe(b), d: base64(d) })))
        },
      ),
      { numRuns: 40 },
    )
  })
})

describe('what is selected', () => {
  const sql = `CREATE TABLE t (id INTEGER PRIMARY KEY, "first name" TEXT, paid INTEGER, at);
    INSERT INTO t VALUES (1, 'Ann', 1, '2024-01-31 23:59:59'), (2, 'Bob', 0, '2024-01-01T00:00:00Z'), (3, 'Ann', NULL, '2024-02-01'),
      (4, 'it''s "x"', 1, 1704067200), (5, 'ms', 1, 1704067200000), (6, 'old', 0, 1703980800), (7, 'none', 0, NULL), (8, 'day', 0, '2024-01');`
  const source = { table: 't', date_column: 'at' }
  const ids = async (filters: object, more: object = {}) => {
    const { text } = await exported(
      { format: 'json', filters, columns: ['id'] },
      { sql, source: { ...source, ...more } },
    )
    return (JSON.parse(text) as { id: number }[]).map(({ id }) => id)
  }

  test('columns, in the order of the payload', async () => {
    const { text } = await exported({ columns: ['first name', 'id'], filters: { id: 3 } }, { sql, source })
    expect(text).toBe('first name,id\r\nAnn,3\r\n')
  })

  test('rows by equality, NULL included', async () => {
    expect(await ids({ 'first name': 'Ann' })).toEqual([1, 3])
    expect(await ids({ 'first name': 'Ann', paid: true })).toEqual([1])
    expect(await ids({ paid: null })).toEqual([3])
    expect(await ids({ 'first name': `it's "x"` })).toEqual([4])
    expect(await ids({ 'first name': `' OR 1=1 --` })).toEqual([])
  })

  test('rows by the beginning of a date, whether it is a text, Unix seconds or milliseconds', async () => {
    expect(await ids({ date: '2024-01' })).toEqual([1, 2, 4, 5, 8])
    expect(await ids({ date: '2024-01-01' })).toEqual([2, 4, 5])
    expect(await ids({ date: '2024-01-31T23' })).toEqual([1])
    expect(await ids({ date: '2024-01-31 23:59:59' })).toEqual([1])
    expect(await ids({ date: '2023' })).toEqual([6])
    expect(await ids({ date: '2024', paid: false })).toEqual([2, 8])
  })

  test('rows of a year also where the column is declared as a date', async () => {
    const sql = `CREATE TABLE t (id INTEGER, at DATETIME); INSERT INTO t VALUES (1, '2022-05-01'), (2, '2024-01-01'), (3, '2024-06-15T10:00:00Z'), (4, '2025-01-01')`
    const { text } = await exported({ filters: { date: '2024' }, columns: ['id'] }, { sql, source })
    expect(text).toBe('id\r\n2\r\n3\r\n')
  })

  test('a date filter uses an index on its column', async () => {
    const folder = freshFolder()
    const db = new Database(join(folder, 'a.db'))
    db.exec(`${sql} CREATE INDEX by_date ON t (at)`)
    const prepared: string[] = []
    const prototype = Object.getPrototypeOf(db)
    const { prepare } = prototype
    prototype.prepare = function (text: string) {
      prepared.push(text)
      return prepare.call(this, text)
    }
    db.close()
    try {
      const config = { sources: { shop: { driver: 'sqlite3', source: 'a.db', ...source } } }
      const payload = payloadSchema(config).parse({ source: 'shop', format: 'csv', filters: { date: '2024-01' } })
      await exportType.run(payload as never, handlerContext(configSchema.parse(config) as Config, folder))
    } finally {
      prototype.prepare = prepare
    }
    const again = new Database(join(folder, 'a.db'))
    const plan = again
      .prepare(`EXPLAIN QUERY PLAN ${prepared.at(-1)}`)
      .all(...(prepared.at(-1)?.match(/\?/g) ?? [])) as { detail: string }[]
    again.close()
    expect(plan.map(({ detail }) => detail).join()).toMatch(/SEARCH t USING INDEX by_date/)
  })

  test('rows of a query, with filters and columns on top', async () => {
    const query = 'SELECT id, at, upper("first name") AS name FROM t WHERE id < 4; '
    const more = { table: undefined, query }
    expect(await ids({ name: 'ANN' }, more)).toEqual([1, 3])
    expect(await ids({ date: '2024-01' }, more)).toEqual([1, 2])
  })

  test('a column that is not there fails the job for good, and says which there are', async () => {
    for (const payload of [{ columns: ['id', 'colour'] }, { filters: { colour: 'red' } }]) {
      const error = await failure(exported(payload, { sql, source }))
      expect(error).toMatchObject({ code: 'payload_invalid', retryable: false })
      expect(error.message).toContain('there is no column "colour", there are id, first name, paid, at')
    }
  })
})

describe('a source that is not right', () => {
  test.each([
    [{ table: 'missing' }, /no such table: missing/],
    [{ table: 't"; DROP TABLE t; --' }, /no such table/],
    [{ table: undefined, query: 'SELEC 1' }, /syntax error/],
    [{ table: undefined, query: 'DELETE FROM t' }, /syntax error/],
  ])('fails the job for good: %j', async (source, words) => {
    const error = await failure(exported({}, { sql: 'CREATE TABLE t (a); INSERT INTO t VALUES (1)', source }))
    expect(error).toBeInstanceOf(NonRetryableError)
    expect(error.message).toMatch(words)
  })

  test('is tried again where its file is not there now', async () => {
    const error = await failure(exported({}, { source: { source: 'away.db', table: 't' } }))
    expect(error).not.toHaveProperty('retryable', false)
    expect(error.message).toBe('the SQLite file of the source cannot be opened (SQLITE_CANTOPEN)')
  })

  test('is not jobmill’s own database', async () => {
    const sql = `PRAGMA application_id = ${0x6a6f626d}; CREATE TABLE t (a)`
    expect(await failure(exported({}, { sql }))).toMatchObject({
      retryable: false,
      message: expect.stringContaining('own database'),
    })
  })

  test('is never written to', async () => {
    const query = "SELECT writefile('x', 'y')"
    expect((await failure(exported({}, { source: { table: undefined, query } }))).message).toMatch(/no such function/)
  })
})

describe('progress and stopping', () => {
  const sql = `CREATE TABLE t (n); WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10000)
    INSERT INTO t SELECT n FROM s`

  test('progress is rows done of rows counted', async () => {
    const told: [number, string | undefined][] = []
    const progress = async (percent: number, note?: string) => void told.push([percent, note])
    const { result } = await exported({ filters: {} }, { sql, parts: { progress } })
    expect(result.rows).toBe(10_000)
    expect(told.at(19)).toEqual([50, '5,000 of 10,000 rows'])
    expect(told.at(-1)).toEqual([100, '10,000 of 10,000 rows'])
  })

  test('a job that is asked to stop stops between batches', async () => {
    const controller = new AbortController()
    let seen = 0
    const progress = async () => {
      seen += 1
      if (seen === 3) controller.abort('cancelled')
    }
    await failure(exported({}, { sql, parts: { progress, signal: controller.signal } }))
    expect(seen).toBeLessThan(6)
  })

  test('a query without an end can be stopped, also while it is counted', async () => {
    const controller = new AbortController()
    const query = 'WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n FROM s'
    const running = exported({}, { source: { table: undefined, query }, parts: { signal: controller.signal } })
    setImmediate(() => controller.abort('timeout'))
    expect(await failure(running)).toBeDefined()
  })
})
