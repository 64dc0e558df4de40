// The rows that `cleanup` deletes and those it leaves, in a real PostgreSQL.
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type JobContext, NonRetryableError } from '../../src/define-job.js'
import { createMeter } from '../../workers/cleanup/meter.js'
import { cleanTables } from '../../workers/cleanup/tables.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'

const BEFORE = Date.UTC(2024, 5, 15, 12, 0, 0)

describe.skipIf(postgresMissing !== null)(
  `rows in PostgreSQL${postgresMissing === null ? '' : `: ${postgresMissing}`}`,
  () => {
    const postgres = usePostgres()
    let count = 0

    /** A connection to a database of its own; its time zone is far from UTC, which must make no difference. */
    async function database(sql: string) {
      count += 1
      const admin = new pg.Client(postgres.url())
      await admin.connect()
      await admin.query(`CREATE DATABASE cleanup_${count}`)
      await admin.query(`ALTER DATABASE cleanup_${count} SET timezone = 'Pacific/Auckland'`)
      await admin.end()
      const source = new URL(postgres.url())
      source.pathname = `/cleanup_${count}`
      const client = await connect(source.href)
      await client.query(sql)
      return { source: source.href, client }
    }

    async function connect(source: string) {
      const client = new pg.Client(source)
      await client.connect()
      onTestFinished(() => client.end())
      return client
    }

    interface Options extends Partial<Pick<JobContext, 'signal' | 'progress'>> {
      table?: string
      date_column?: string
      dry_run?: boolean
    }

    /** Cleans a table of what is older than noon of 15 June 2024, UTC. */
    function clean(source: string, { table = 'events', date_column = 'at', dry_run = false, ...ctx }: Options = {}) {
      const meter = createMeter({ signal: new AbortController().signal, progress: async () => {}, ...ctx }, 1)
      return cleanTables([{ source, table, date_column }], (path) => path, { before: BEFORE, dry_run, meter })
    }

    async function ids(client: pg.Client, table = 'events'): Promise<unknown[]> {
      return (await client.query(`SELECT id FROM ${table} ORDER BY id`)).rows.map(({ id }) => id)
    }

    test.each([
      [
        'timestamptz',
        ['2024-06-15 11:59:59.999Z', '2024-06-15 13:59+02'],
        ['2024-06-15 12:00Z', '2024-06-15 11:00-02'],
      ],
      ['timestamp', ['2024-06-15 11:59:59.999', '2001-01-01'], ['2024-06-15 12:00', '2024-06-15 23:00']],
      ['date', ['2024-06-15', '2001-01-01'], ['2024-06-16', '2099-01-01']],
    ])('go by a %s', async (type, old, young) => {
      const { source, client } = await database(`CREATE TABLE events (id text, at ${type})`)
      const dates = [...old, ...young, null, 'infinity', '-infinity']
      for (const date of dates) await client.query('INSERT INTO events VALUES ($1, $2)', [date ?? 'none', date])
      const deleted = old.length
      expect(await clean(source, { dry_run: true })).toEqual([{ table: 'events', deleted }])
      expect(await ids(client)).toHaveLength(dates.length)
      expect(await clean(source)).toEqual([{ table: 'events', deleted }])
      expect((await ids(client)).sort()).toEqual([...young, 'none', 'infinity', '-infinity'].sort())
      expect(await clean(source)).toEqual([{ table: 'events', deleted: 0 }])
    })

    const MANY = `
    CREATE TABLE events (id int, at timestamptz);
    INSERT INTO events SELECT n, '2001-01-01'::timestamptz + n * interval '1 s' FROM generate_series(1, 20000) n;
    INSERT INTO events SELECT n, '2099-01-01' FROM generate_series(20001, 20010) n;`

    test('go in batches of 500, each a transaction, with progress', async () => {
      const { source, client } = await database(`${MANY}
      CREATE TABLE batches (size int);
      CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END $$;
      CREATE TRIGGER note AFTER DELETE ON events REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note();`)
      const seen: { percent: number; note: string | undefined }[] = []
      const progress = async (percent: number, note?: string) => void seen.push({ percent, note })
      expect(await clean(source, { progress })).toEqual([{ table: 'events', deleted: 20_000 }])
      const { rows } = await client.query('SELECT max(size), count(*)::int FROM batches WHERE size > 0')
      expect(rows).toEqual([{ max: 500, count: 40 }])
      const percents = seen.map(({ percent }) => percent)
      expect(percents).toEqual(percents.toSorted((a, b) => a - b))
      expect(percents.some((percent) => percent > 10 && percent < 90)).toBe(true)
      expect(seen.at(-1)).toEqual({ percent: 100, note: '20,000 rows' })
    })

    test('stay from the batch on before which the job is cancelled, and go with the next run', async () => {
      const { source, client } = await database(MANY)
      const controller = new AbortController()
      const progress = async (_: number, note = '') => {
        if (note.includes('rows')) controller.abort('cancelled')
      }
      await expect(clean(source, { signal: controller.signal, progress })).rejects.toBe('cancelled')
      const left = (await ids(client)).length - 10
      expect(left).toBeGreaterThan(0)
      expect(left).toBeLessThan(20_000)
      expect(left % 500).toBe(0)
      expect(await clean(source)).toEqual([{ table: 'events', deleted: left }])
    })

    test('that another transaction holds are passed over, without waiting', async () => {
      const { source, client } = await database(`
      CREATE TABLE events (id int, at date);
      INSERT INTO events VALUES (1, '2001-01-01'), (2, '2001-01-01'), (3, '2001-01-01');`)
      await client.query('BEGIN')
      await client.query('SELECT FROM events WHERE id = 2 FOR UPDATE')
      expect(await clean(source)).toEqual([{ table: 'events', deleted: 2 }])
      await client.query('COMMIT')
      expect(await ids(client)).toEqual([2])
      expect(await clean(source)).toEqual([{ table: 'events', deleted: 1 }])
    })

    test('of a table in partitions and of one with heirs go, and only those', async () => {
      const { source, client } = await database(`
      CREATE TABLE events (id int, at timestamptz) PARTITION BY LIST (id);
      CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
      CREATE TABLE events_2 PARTITION OF events FOR VALUES IN (2, 3) PARTITION BY LIST (id);
      CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES IN (2);
      CREATE TABLE events_2b PARTITION OF events_2 FOR VALUES IN (3);
      INSERT INTO events VALUES (1, '2099-01-01'), (2, '2001-01-01'), (3, '2099-01-01');
      CREATE TABLE parent (id int, at date);
      CREATE TABLE child () INHERITS (parent);
      INSERT INTO parent VALUES (1, '2001-01-01'), (2, '2099-01-01');
      INSERT INTO child VALUES (3, '2099-01-01'), (4, '2001-01-01');`)
      expect(await clean(source)).toEqual([{ table: 'events', deleted: 1 }])
      expect(await ids(client)).toEqual([1, 3])
      expect(await clean(source, { table: 'parent' })).toEqual([{ table: 'parent', deleted: 2 }])
      expect(await ids(client, 'parent')).toEqual([2, 3])
    })

    test('of a table in partitions that has none yet are none', async () => {
      const { source } = await database('CREATE TABLE events (id int, at date) PARTITION BY LIST (id)')
      for (const dry_run of [true, false])
        expect(await clean(source, { dry_run })).toEqual([{ table: 'events', deleted: 0 }])
    })

    test('are found in a table of another schema, and under names that need quotes', async () => {
      const { source, client } = await database(`
      CREATE SCHEMA "My app"; CREATE TABLE "My app"."Ev""ents; --" (id int, "At" date);
      CREATE TABLE events (id int, at date);
      INSERT INTO "My app"."Ev""ents; --" VALUES (1, '2001-01-01'); INSERT INTO events VALUES (1, '2001-01-01');`)
      const table = 'My app.Ev"ents; --'
      expect(await clean(source, { table, date_column: 'At' })).toEqual([{ table, deleted: 1 }])
      expect(await ids(client)).toEqual([1])
    })

    test.each<[string, Options, string]>([
      ['a table that is not there', { table: 'missing' }, 'table "missing": there is no such table in its database'],
      ['a view', { table: 'recent' }, 'table "recent": there is no such table in its database'],
      ['SQL for a table', { table: 'events; DROP TABLE events' }, 'there is no such table in its database'],
      ['a column that is not there', { date_column: 'missing' }, 'table "events": has no column "missing"'],
      ['SQL for a column', { date_column: "'2001-01-01'" }, 'has no column'],
      ['a column of PostgreSQL itself', { date_column: 'ctid' }, 'table "events": has no column "ctid"'],
      ['a column of texts', { date_column: 'name' }, 'column "name" must be a date, timestamp or timestamptz'],
    ])('need what is configured: %s is refused', async (_, options, message) => {
      const { source, client } = await database(`
      CREATE TABLE events (id int, at date, name text); INSERT INTO events VALUES (1, '2001-01-01', '2001-01-01');
      CREATE VIEW recent AS SELECT * FROM events;`)
      const cleaning = clean(source, options)
      await expect(cleaning).rejects.toThrow(message)
      await expect(cleaning).rejects.toBeInstanceOf(NonRetryableError)
      expect(await ids(client)).toEqual([1])
    })

    test('are left where the rules of the table forbid it, and the error says so', async () => {
      const { source } = await database(`
      CREATE TABLE events (id int PRIMARY KEY, at date); CREATE TABLE notes (event int REFERENCES events);
      INSERT INTO events VALUES (1, '2001-01-01'); INSERT INTO notes VALUES (1);`)
      await expect(clean(source)).rejects.toThrow(
        /^table "events": update or delete on table "events" violates foreign key/,
      )
    })

    test('behind a server that is not there, or refuses, are an error without the password', async () => {
      const { source } = await database(`CREATE ROLE ann LOGIN PASSWORD 'gehe:im'`)
      const away = new URL(source)
      away.username = 'ann'
      away.password = 'gehe:im'
      away.port = '1'
      await expect(clean(away.href)).rejects.toThrow(/^table "events": .*ECONNREFUSED/)
      const missing = new URL(source)
      missing.password = 'gehe:im'
      missing.pathname = '/gehe:im'
      await expect(clean(missing.href)).rejects.toThrow('table "events": database "***" does not exist')
    })

    test('leave no connection behind', async () => {
      const { source, client } = await database('CREATE TABLE events (id int, at date)')
      await clean(source)
      await clean(source, { table: 'missing' }).catch(() => {})
      const sql = `SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
      await expect.poll(async () => (await client.query(sql)).rows).toEqual([])
    })
  },
)
