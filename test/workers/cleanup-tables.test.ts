// The rows that `cleanup` deletes and those it leaves, in real SQLite files.
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type BetterSqlite3 from 'better-sqlite3'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type JobContext, NonRetryableError, sqlitePackage } from '../../src/define-job.js'
import { createMeter } from '../../workers/cleanup/meter.js'
import { cleanTables } from '../../workers/cleanup/tables.js'
import { freshFolder } from '../support/folder.js'
import { until } from '../support/until.js'

const Sqlite: typeof BetterSqlite3 = createRequire(import.meta.url)(sqlitePackage())

const BEFORE = Date.UTC(2024, 5, 15, 12, 0, 0)

interface Table {
  source?: string
  table?: string
  date_column?: string
}

interface Options extends Partial<Pick<JobContext, 'signal' | 'progress'>> {
  dry_run?: boolean
  before?: number
}

/** Cleans tables in files of `folder` of what is older than noon of 15 June 2024, UTC. */
function clean(folder: string, tables: Table[], { dry_run = false, before = BEFORE, ...ctx }: Options = {}) {
  const meter = createMeter({ signal: new AbortController().signal, progress: async () => {}, ...ctx }, tables.length)
  const wanted = tables.map((table) => ({ source: 'app.db', table: 'events', date_column: 'at', ...table }))
  return cleanTables(wanted, (path) => join(folder, path), { before, dry_run, meter })
}

/** A file app.db in a fresh folder, made by `sql`; the connection is closed. */
function database(sql: string): string {
  const folder = freshFolder()
  withDatabase(folder, (db) => db.exec(sql))
  return folder
}

function withDatabase<T>(folder: string, act: (db: BetterSqlite3.Database) => T): T {
  const db = new Sqlite(join(folder, 'app.db'))
  try {
    return act(db)
  } finally {
    db.close()
  }
}

function column(folder: string, sql: string): unknown[] {
  return withDatabase(folder, (db) => db.prepare(sql).pluck().all())
}

/** A table of one date column with these values, in this order. */
function events(type: string, values: unknown[], more = ''): string {
  const folder = database(`CREATE TABLE events (id INTEGER PRIMARY KEY, at ${type}); ${more}`)
  withDatabase(folder, (db) => {
    const insert = db.prepare('INSERT INTO events (at) VALUES (?)')
    for (const value of values) insert.run(value)
  })
  return folder
}

const left = (folder: string) => column(folder, 'SELECT at FROM events ORDER BY id')

const OLD_TEXTS = [
  '2024-06-15T11:59:59.999Z',
  '2024-06-15 11:59:59',
  '2024-06-15T13:59:59+02:00',
  '2024-06-15T01:59:59-10:00',
  '2024-06-15',
  '2001-01-01',
  '2024-06-15T11:59',
]
const YOUNG_TEXTS = [
  '2024-06-15T12:00:00.000Z',
  '2024-06-15 12:00:00',
  '2024-06-15T14:00:00+02:00',
  '2024-06-15T11:00:00-02:00',
  '2024-06-16',
  '9999-12-31',
]
const NO_DATES = [null, 'never', 'now', '', '12:00', '2024', '2460000', '2024-6-1', '2024-13-01', '15.06.2001']

describe.each([
  ['without an index', ''],
  ['with an index', 'CREATE INDEX events_at ON events (at)'],
])('dates %s', (_, index) => {
  test.each(['TEXT', 'DATETIME', ''])('as ISO texts in a column of type "%s"', async (type) => {
    const folder = events(type, [...OLD_TEXTS, ...YOUNG_TEXTS, ...NO_DATES], index)
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: OLD_TEXTS.length }])
    expect(left(folder).map(String)).toEqual([...YOUNG_TEXTS, ...NO_DATES].map(String))
  })

  test.each(['INTEGER', 'DATETIME', 'REAL', ''])(
    'as seconds and milliseconds in a column of type "%s"',
    async (type) => {
      const old = [1e8, 1_000_000_000, BEFORE / 1_000 - 1, 3e11, BEFORE - 1]
      const young = [BEFORE / 1_000, BEFORE, BEFORE + 1, 4e12]
      const otherwise = [null, 0, -1, 2024, 2_460_000, 20_240_615, 202_406_151_200, 20_240_615_120_000]
      const folder = events(type, [...old, ...young, ...otherwise], index)
      expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: old.length }])
      expect(left(folder)).toEqual([...young, ...otherwise])
    },
  )

  test('as texts and numbers in one column', async () => {
    const folder = events('', ['2001-01-01', 1_000_000_000, '2099-01-01', 4_000_000_000], index)
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 2 }])
    expect(left(folder)).toEqual(['2099-01-01', 4_000_000_000])
  })
})

test('any time at any offset is old if it lies before', async () => {
  const minute = fc.integer({ min: -2 * 24 * 60, max: 2 * 24 * 60 })
  const offset = fc.integer({ min: -14 * 60, max: 14 * 60 })
  const form = fc.constantFrom<'seconds' | 'ms' | 'text' | 'zulu'>('seconds', 'ms', 'text', 'zulu')
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ minute, offset, form }), { minLength: 1, maxLength: 30 }), async (dates) => {
      const times = dates.map(({ minute }) => BEFORE + minute * 60_000)
      const values = dates.map(({ offset, form }, i) => write(times[i] ?? 0, offset, form))
      const folder = events('', values)
      await clean(folder, [{}])
      expect(left(folder)).toEqual(values.filter((_, i) => (times[i] ?? 0) >= BEFORE))
    }),
    { numRuns: 50 },
  )

  function write(time: number, offset: number, form: string): string | number {
    if (form === 'seconds') return time / 1_000
    if (form === 'ms') return time
    if (form === 'zulu') return new Date(time).toISOString()
    const pad = (n: number) => String(Math.abs(n)).padStart(2, '0')
    const zone = `${offset < 0 ? '-' : '+'}${pad(Math.trunc(offset / 60))}:${pad(offset % 60)}`
    return new Date(time + offset * 60_000).toISOString().replace('Z', zone)
  }
})

describe('a table', () => {
  test('loses its old rows in batches, and none at the second run', async () => {
    const folder = database(`
      CREATE TABLE events (at TEXT, n INTEGER);
      WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3210)
      INSERT INTO events SELECT CASE WHEN n % 3 = 0 THEN '2099-01-01' ELSE '2001-01-01' END, n FROM i;
      CREATE TABLE deletions (n INTEGER);
      CREATE TRIGGER note AFTER DELETE ON events BEGIN INSERT INTO deletions VALUES (old.n); END;`)
    expect(await clean(folder, [{}], { dry_run: true })).toEqual([{ table: 'events', deleted: 2140 }])
    expect(column(folder, 'SELECT count(*) FROM events')).toEqual([3210])
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 2140 }])
    expect(column(folder, 'SELECT count(*), sum(n % 3) FROM events')).toEqual([1070])
    expect(column(folder, 'SELECT count(*) FROM deletions')).toEqual([2140])
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 0 }])
  })

  test('is not written to by a dry run', async () => {
    const folder = events('TEXT', ['2001-01-01', '2099-01-01'])
    const before = readFileSync(join(folder, 'app.db'))
    expect(await clean(folder, [{}], { dry_run: true })).toEqual([{ table: 'events', deleted: 1 }])
    expect(readFileSync(join(folder, 'app.db')).equals(before)).toBe(true)
  })

  test('may be WITHOUT ROWID, with a key of several columns', async () => {
    const folder = database(`
      CREATE TABLE events (a BLOB, b INTEGER, at TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;
      INSERT INTO events VALUES (x'ff', 1, '2001-01-01'), (x'ff', 2, '2099-01-01'), (x'00', 1, '2099-01-01');
      WITH RECURSIVE i(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM i WHERE n < 1210)
      INSERT INTO events SELECT 'x', n, '2001-01-01' FROM i;`)
    expect(await clean(folder, [{}], { dry_run: true })).toEqual([{ table: 'events', deleted: 1_202 }])
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 1_202 }])
    expect(column(folder, 'SELECT hex(a) || b FROM events ORDER BY 1')).toEqual(['001', 'FF2'])
  })

  test('may have row numbers beyond what a number of JavaScript holds', async () => {
    const folder = database(`
      CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT);
      INSERT INTO events VALUES (9007199254740993, '2001-01-01'), (9007199254740992, '2099-01-01'), (-1, '2001-01-01');`)
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 2 }])
    expect(column(folder, 'SELECT at FROM events')).toEqual(['2099-01-01'])
  })

  test('whose rows a trigger keeps ends the work and not only the batch', async () => {
    const trigger = 'CREATE TRIGGER keep BEFORE DELETE ON events BEGIN SELECT RAISE(IGNORE); END'
    const folder = events('TEXT', ['2001-01-01', '2001-01-01'], trigger)
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 0 }])
    expect(left(folder)).toHaveLength(2)
  })

  test('may have a column that is called rowid and is not unique', async () => {
    const folder = database(`
      CREATE TABLE events (RowID TEXT, at TEXT);
      INSERT INTO events VALUES ('same', '2001-01-01'), ('same', '2099-01-01');`)
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 1 }])
    expect(column(folder, 'SELECT at FROM events')).toEqual(['2099-01-01'])
  })

  test('whose columns hide all names of the row number is refused', async () => {
    const folder = database(`
      CREATE TABLE events (rowid TEXT, _rowid_ TEXT, oid TEXT, at TEXT);
      INSERT INTO events VALUES ('', '', '', '2001-01-01');`)
    await expect(clean(folder, [{}])).rejects.toThrow('table "events": its columns hide the numbers of its rows')
  })

  test('may have names with quotes, blanks and any letters, in any case', async () => {
    const folder = database(`
      CREATE TABLE "my ""events"" ü; --" ("at ""now""" TEXT);
      INSERT INTO "my ""events"" ü; --" VALUES ('2001-01-01'), ('2099-01-01');`)
    const table = { table: 'My "Events" ü; --', date_column: 'AT "NOW"' }
    expect(await clean(folder, [table])).toEqual([{ table: table.table, deleted: 1 }])
  })

  test.each<[string, Table, string]>([
    ['that is not there', { table: 'missing' }, 'table "missing": there is no such table in its SQLite file'],
    ['that is a view', { table: 'recent' }, 'table "recent": there is no such table in its SQLite file'],
    ['of SQLite itself', { table: 'sqlite_sequence' }, 'table "sqlite_sequence": there is no such table'],
    ['that is SQL', { table: 'events; DROP TABLE events' }, 'there is no such table'],
    ['without the column', { date_column: 'missing' }, 'table "events": has no column "missing"'],
    ['whose column is SQL', { date_column: '1 OR 1' }, 'table "events": has no column "1 OR 1"'],
    ['whose column is a number of the row', { date_column: 'rowid' }, 'table "events": has no column "rowid"'],
    ['whose column holds no dates', { date_column: 'name' }, 'column "name" must hold ISO 8601 texts, or unix time'],
    ['whose column holds years', { date_column: 'year' }, 'column "year" must hold ISO 8601 texts, or unix time'],
    ['in a file that is not there', { source: 'no.db' }, 'its SQLite file cannot be opened (SQLITE_CANTOPEN)'],
    ['in a folder that is not there', { source: 'no/app.db' }, 'table "events": its SQLite file cannot be opened'],
    ['in a file that is no database', { source: 'text.db' }, 'table "events": file is not a database (SQLITE_NOTADB)'],
  ])('%s is an error that says so', async (_, table, message) => {
    const folder = database(`
      CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, name TEXT, year INTEGER);
      CREATE VIEW recent AS SELECT * FROM events;
      INSERT INTO events (at, name, year) VALUES ('2001-01-01', 'Ann', 2001);`)
    copyFileSync(import.meta.filename, join(folder, 'text.db'))
    await expect(clean(folder, [table])).rejects.toThrow(message)
    expect(column(folder, 'SELECT name FROM events')).toEqual(['Ann'])
    expect(existsSync(join(folder, 'no.db'))).toBe(false)
  })

  test('that fails keeps no other from being cleaned; the error names each that failed', async () => {
    const folder = events('TEXT', ['2001-01-01', '2099-01-01'])
    const failing = clean(folder, [{ table: 'a' }, {}, { date_column: 'b' }])
    await expect(failing).rejects.toThrow(
      'table "a": there is no such table in its SQLite file; table "events": has no column "b"',
    )
    await expect(failing).rejects.toBeInstanceOf(NonRetryableError)
    expect(left(folder)).toEqual(['2099-01-01'])
  })

  test('may have no dates yet, or zeros in their place', async () => {
    const folder = events('INTEGER', [null, 0, 0])
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: 0 }])
  })

  test('whose rows others refer to says which rule was in the way', async () => {
    const folder = events('TEXT', ['2001-01-01'], 'CREATE TABLE notes (event INTEGER REFERENCES events (id));')
    withDatabase(folder, (db) => db.exec('INSERT INTO notes VALUES (1)'))
    await expect(clean(folder, [{}])).rejects.toThrow('table "events": FOREIGN KEY constraint failed')
    expect(left(folder)).toHaveLength(1)
  })

  test('of jobmill itself is refused', async () => {
    const folder = events('TEXT', ['2001-01-01'], `PRAGMA application_id = ${0x6a6f626d}`)
    await expect(clean(folder, [{}])).rejects.toThrow("is jobmill's own")
    expect(left(folder)).toHaveLength(1)
  })

  test('may be named by a file: URI', async () => {
    const folder = events('TEXT', ['2001-01-01'])
    const source = 'file:%61pp.db?cache=shared&_fk=1'
    expect(await clean(folder, [{ source }])).toEqual([{ table: 'events', deleted: 1 }])
  })
})

describe('a database in use', () => {
  /** Another thread that holds the file's write lock until it is told to let go. */
  async function holdLock(folder: string) {
    const state = new Int32Array(new SharedArrayBuffer(8))
    const worker = new Worker(
      `const { workerData: { sqlite, file, state } } = require('node:worker_threads')
      const db = new (require(sqlite))(file)
      db.exec('BEGIN IMMEDIATE')
      Atomics.store(state, 0, 1)
      Atomics.wait(state, 1, 0)
      db.exec('COMMIT')
      db.close()`,
      {
        eval: true,
        workerData: {
          sqlite: createRequire(import.meta.url).resolve(sqlitePackage()),
          file: join(folder, 'app.db'),
          state,
        },
      },
    )
    onTestFinished(async () => void (await worker.terminate()))
    await until('the lock is held', () => Atomics.load(state, 0) === 1)
    return () => {
      Atomics.store(state, 1, 1)
      Atomics.notify(state, 1)
    }
  }

  test('is waited for, and the thread goes on meanwhile', async () => {
    const folder = events('TEXT', ['2001-01-01', '2099-01-01'])
    const release = await holdLock(folder)
    const cleaning = clean(folder, [{}])
    // Longer than one call waits: this thread had to get its turn.
    setTimeout(release, 600)
    expect(await cleaning).toEqual([{ table: 'events', deleted: 1 }])
  })

  test('for long is an error that says so, and a later attempt may succeed', async () => {
    const folder = events('TEXT', ['2001-01-01'])
    const release = await holdLock(folder)
    const cleaning = clean(folder, [{}])
    await expect(cleaning).rejects.toThrow('table "events": its SQLite file is locked by another program')
    await expect(cleaning).rejects.not.toBeInstanceOf(NonRetryableError)
    release()
    await until('the lock is gone', async () => (await clean(folder, [{}]))[0]?.deleted === 1)
  })
})

describe('a large table', () => {
  const LARGE = `
    CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER);
    WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 100000)
    INSERT INTO events SELECT n, 1000000000 + n FROM i;`

  test('shows how far it is', async () => {
    const seen: { percent: number; note: string | undefined }[] = []
    const progress = async (percent: number, note?: string) => void seen.push({ percent, note })
    await clean(database(LARGE), [{}], { progress })
    const percents = seen.map(({ percent }) => percent)
    expect(percents).toEqual(percents.toSorted((a, b) => a - b))
    expect(percents.some((percent) => percent > 10 && percent < 90)).toBe(true)
    expect(seen.at(-1)).toEqual({ percent: 100, note: '100,000 rows' })
  })

  test('is left between two batches when the job is cancelled, and the next run does the rest', async () => {
    const folder = database(LARGE)
    const controller = new AbortController()
    const progress = async (_: number, note = '') => {
      if (note.includes('rows')) setImmediate(() => controller.abort('cancelled'))
    }
    await expect(clean(folder, [{}], { signal: controller.signal, progress })).rejects.toBe('cancelled')
    const [rows] = column(folder, 'SELECT count(*) FROM events')
    expect(Number(rows)).toBeGreaterThan(0)
    expect(Number(rows)).toBeLessThan(100_000)
    expect(Number(rows) % 500).toBe(0)
    expect(await clean(folder, [{}])).toEqual([{ table: 'events', deleted: rows }])
  })
})
