// The job type `export` from a real PostgreSQL: every kind of value, filters, and what goes wrong.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { z } from 'zod'
import type { JobContext } from '../../src/define-job.js'
import exportType from '../../workers/export/index.js'
import { handlerContext } from '../support/context.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'

const configSchema = exportType.config as z.ZodType
type Config = Parameters<Extract<typeof exportType.payload, (config: never) => unknown>>[0]

describe.skipIf(postgresMissing !== null)(
  `an export from PostgreSQL${postgresMissing === null ? '' : `: ${postgresMissing}`}`,
  () => {
    const postgres = usePostgres()
    let schemas = 0

    /** Runs `sql` in a schema of its own, then exports the source; %s in it stands for the schema. */
    async function exported(
      sql: string,
      source: object,
      payload: object = {},
      parts: Partial<JobContext<Config>> = {},
    ) {
      schemas += 1
      const schema = `exported_${schemas}`
      const client = new pg.Client(postgres.url())
      await client.connect()
      onTestFinished(() => client.end())
      await client.query(`CREATE SCHEMA ${schema}; SET search_path TO ${schema}; ${sql}`)
      const named = JSON.parse(
        JSON.stringify({ driver: 'postgres', source: postgres.url(), ...source }).replaceAll('%s', schema),
      )
      const config = configSchema.parse({ sources: { shop: named } }) as Config
      const folder = freshFolder()
      if (typeof exportType.payload !== 'function') throw new Error('the payload depends on the sources')
      const whole = exportType.payload(config).parse({ source: 'shop', format: 'json', ...payload })
      const result = (await exportType.run(whole, handlerContext(config, folder, parts))) as {
        rows: number
        file: string
      }
      return { result, text: readFileSync(join(folder, 'artifacts', result.file), 'utf8'), client }
    }

    const MATRIX = `CREATE TABLE t (small int2, big int8, exact numeric, real float8, yes bool, text text, bytes bytea,
        day date, local timestamp, moment timestamptz, doc jsonb, texts text[], numbers int8[], id uuid);
      INSERT INTO t VALUES (1, 9007199254740993, 12345678901234567890.123, 0.1, true, 'ü "€" 😀', '\\x00ff', '2024-01-31',
        '2024-01-31 08:30:00.123456', '2024-01-31 08:30:00.123456+02', '{"a": [1, null]}', '{"a,b",NULL,"c\\"d"}',
        '{1,9007199254740993}', '019a2b3c-0000-7000-8000-000000000001'),
        (NULL, 5, 1.5, 'NaN', false, '', '', NULL, NULL, NULL, '"text"', '{}', NULL, NULL);`

    test('keeps every kind of value right in JSON', async () => {
      const { text } = await exported(MATRIX, { table: '%s.t' })
      expect(JSON.parse(text)).toEqual([
        {
          small: 1,
          big: '9007199254740993',
          exact: '12345678901234567890.123',
          real: 0.1,
          yes: true,
          text: 'ü "€" 😀',
          bytes: 'AP8=',
          day: '2024-01-31',
          local: '2024-01-31T08:30:00.123456',
          moment: '2024-01-31T06:30:00.123456Z',
          doc: { a: [1, null] },
          texts: ['a,b', null, 'c"d'],
          numbers: [1, '9007199254740993'],
          id: '019a2b3c-0000-7000-8000-000000000001',
        },
        {
          ...{ small: null, big: 5, exact: 1.5, real: 'NaN', yes: false, text: '', bytes: '', day: null, local: null },
          ...{ moment: null, doc: 'text', texts: [], numbers: null, id: null },
        },
      ])
    })

    test('keeps every kind of value right in CSV', async () => {
      const { text } = await exported(MATRIX, { table: '%s.t' }, { format: 'csv' })
      const [first, second] = parse(text, { columns: true }) as Record<string, string>[]
      expect(first).toMatchObject({
        big: '9007199254740993',
        exact: '12345678901234567890.123',
        yes: 'true',
        text: 'ü "€" 😀',
        bytes: 'AP8=',
        moment: '2024-01-31T06:30:00.123456Z',
        doc: '{"a": [1, null]}',
        texts: '["a,b",null,"c\\"d"]',
      })
      expect(text.split('\r\n')[2]).toMatch(/^,5,1\.5,NaN,false,"",,,,,/)
      expect(second?.small).toBe('')
    })

    test.each(['date', 'timestamp', 'timestamptz', 'text'])('finds rows by the beginning of a %s', async (type) => {
      const days = ['2023-12-31', '2024-01-01', '2024-01-31', '2024-02-01']
      const sql = `CREATE TABLE t (at ${type}); SET TimeZone = 'UTC'; INSERT INTO t VALUES ${days.map((day) => `('${day}')`)}, (NULL)`
      const count = async (date: string) =>
        (await exported(sql, { table: '%s.t', date_column: 'at' }, { filters: { date } })).result.rows
      expect([await count('2024-01'), await count('2024'), await count('2023-12-31'), await count('2022')]).toEqual([
        2, 3, 1, 0,
      ])
    })

    test('finds rows by equality of any type, NULL included', async () => {
      const rows = async (filters: object) => (await exported(MATRIX, { table: '%s.t' }, { filters })).result.rows
      expect(await rows({ big: 5, yes: false })).toBe(1)
      expect(await rows({ small: null })).toBe(1)
      expect(await rows({ text: `' OR true --` })).toBe(0)
      expect(await rows({ big: 'no number' })).toBe(0)
    })

    test('reads many rows by a cursor, counted in the same snapshot', async () => {
      const told: string[] = []
      const progress = async (_: number, note?: string) => void told.push(String(note))
      const query = "SELECT n, 'text ' || n AS text FROM generate_series(1, 25000) AS n;"
      const { result } = await exported(
        '',
        { query },
        { format: 'csv', columns: ['text'], filters: { n: 7 } },
        { progress },
      )
      expect(result.rows).toBe(1)
      const all = await exported('', { query }, { format: 'ndjson' }, { progress })
      expect(all.result.rows).toBe(25_000)
      expect(told.at(-1)).toBe('25,000 of 25,000 rows')
    })

    test('cannot write', async () => {
      const query = "SELECT setval('%s.s', 5)"
      await expect(exported('CREATE SEQUENCE s', { query })).rejects.toMatchObject({
        retryable: false,
        message: expect.stringContaining('read-only transaction'),
      })
    })

    test.each([
      [{ table: '%s.missing' }, {}, { retryable: false, message: expect.stringContaining('does not exist') }],
      [
        { query: 'SELECT 1 AS a, 2 AS a' },
        {},
        { retryable: false, message: expect.stringContaining('two columns "a"') },
      ],
      [{ query: 'SELECT 1; SELECT 2' }, {}, { retryable: false, message: expect.stringContaining('syntax error') }],
      [
        { table: '%s.t' },
        { columns: ['b'] },
        { code: 'payload_invalid', message: expect.stringContaining('there are a') },
      ],
    ])('fails for good where the source or the payload is wrong: %j', async (source, payload, error) => {
      await expect(exported('CREATE TABLE t (a int)', source, payload)).rejects.toMatchObject(error)
    })

    test('tells nobody the password of a server that cannot be reached', async () => {
      const source = 'postgres://user:s3cret-pass@127.0.0.1:1/shop'
      const running = exported('', { source, table: 't' })
      await expect(running).rejects.toThrow('the PostgreSQL server of the source cannot be reached (ECONNREFUSED)')
      await expect(running).rejects.not.toThrow('s3cret-pass')
    })

    test('ends at once when its job is asked to stop, and its query with it', async () => {
      const controller = new AbortController()
      const query = "SELECT pg_sleep(60), 'stop me' AS mark"
      const running = exported('', { query }, {}, { signal: controller.signal })
      const watch = new pg.Client(postgres.url())
      await watch.connect()
      onTestFinished(() => watch.end())
      const active = async () =>
        (
          await watch.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'jobmill export' AND state = 'active'",
          )
        ).rows
      await expect.poll(active, { timeout: 10_000 }).toHaveLength(1)
      controller.abort('cancelled')
      await expect(running).rejects.toThrow()
    })
  },
)
