// Old rows of a table in a SQLite file, which has to be there and may be in use by others.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import type BetterSqlite3 from 'better-sqlite3'
import { NonRetryableError, sqlitePackage } from '../../src/define-job.js'
import { BATCH_ROWS, type OldRows, type Wanted } from './rows.js'

type Database = BetterSqlite3.Database

/** How long one call waits for another writer: it holds up the thread, so it is short and made again. */
const BUSY_MS = 250
const BUSY_TRIES = 8
/** 1973 as unix time in seconds, and as it is in milliseconds 1979: what lies below or between is written otherwise. */
const FIRST_SECONDS = 1e8
const FIRST_MS = 3e11
/** Numbers of old rows that are held in memory. */
const SEARCH_ROWS = 20 * BATCH_ROWS
const DAY_MS = 86_400_000
/** `application_id` of jobmill's own database. */
const JOBMILL = 0x6a6f626d

/** @throws NonRetryableError where there is no such table or column, or the column holds no dates */
export async function openSqliteTable(file: string, wanted: Wanted): Promise<OldRows> {
  const db = openDatabase(file, wanted)
  try {
    return await retryBusy(wanted, () => oldRows(db, wanted))
  } catch (error) {
    db.close()
    throw error
  }
}

function openDatabase(file: string, { table, dry_run }: Wanted): Database {
  const Sqlite = createRequire(import.meta.url)(sqlitePackage()) as typeof BetterSqlite3
  try {
    return new Sqlite(file, { fileMustExist: true, readonly: dry_run, timeout: BUSY_MS })
  } catch (error) {
    throw new Error(`table "${table}": its SQLite file cannot be opened (${codeOf(error)})`)
  }
}

function oldRows(db: Database, wanted: Wanted): OldRows {
  if (db.pragma('application_id', { simple: true }) === JOBMILL)
    throw new NonRetryableError(`table "${wanted.table}": is jobmill's own, whose jobs are cleaned up by delete_jobs`)
  const { name, key, column } = lookUp(db, wanted)
  refuseOtherDates(db, wanted, name, column)
  const old = isOld(column)
  const bounds: Bounds = {
    seconds: wanted.before / 1_000,
    ms: wanted.before,
    // Texts may have an offset from UTC: none is further off than a day.
    day: new Date(wanted.before + DAY_MS).toISOString(),
  }
  const count = db.prepare<[Bounds], { n: number }>(`SELECT count(*) AS n FROM ${name} WHERE ${old}`)
  const remove = typeof key === 'string' ? removeByNumber(db, name, key, old) : removeByKey(db, name, key, old)
  return {
    count: () => retryBusy(wanted, () => count.get(bounds)?.n ?? 0),
    deleteBatch: () => retryBusy(wanted, () => remove(bounds)),
    close: async () => void db.close(),
  }
}

interface Bounds {
  seconds: number
  ms: number
  day: string
}

/** Looks for many at once and before the transaction: where no index helps, a search reads the whole table. */
function removeByNumber(db: Database, name: string, key: string, old: string): (bounds: Bounds) => number {
  const search = `SELECT ${key} FROM ${name} WHERE ${old} LIMIT ${SEARCH_ROWS}`
  const find = db.prepare<[Bounds], bigint>(search).pluck().safeIntegers()
  const remove = db.prepare<[Bounds & { numbers: string }]>(
    `DELETE FROM ${name} WHERE ${key} IN (SELECT value FROM json_each(:numbers)) AND ${old}`,
  )
  let found: bigint[] = []
  return (bounds) => {
    if (found.length === 0) found = find.all(bounds)
    const { changes } = remove.run({ ...bounds, numbers: `[${found.slice(0, BATCH_ROWS)}]` })
    found = found.slice(BATCH_ROWS)
    return changes
  }
}

/** A table WITHOUT ROWID: its key may have several columns of any type. */
function removeByKey(db: Database, name: string, key: string[], old: string): (bounds: Bounds) => number {
  const search = `SELECT ${key} FROM ${name} WHERE ${old} LIMIT ${BATCH_ROWS}`
  const remove = db.prepare<[Bounds]>(`DELETE FROM ${name} WHERE (${key}) IN (${search})`)
  return (bounds) => remove.run(bounds).changes
}

interface Place {
  /** As it stands in the catalogue, quoted, like all names here. */
  name: string
  column: string
  /** What its rows are told apart by: the name of their number, or the columns of the primary key. */
  key: string | string[]
}

function lookUp(db: Database, { table, date_column }: Wanted): Place {
  const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()
  const tables = db.prepare<[], TableRow>('PRAGMA main.table_list').all()
  const found = tables.find(({ schema, type, name }) => schema === 'main' && type === 'table' && same(name, table))
  if (found === undefined || /^sqlite_/i.test(found.name))
    throw new NonRetryableError(`table "${table}": there is no such table in its SQLite file`)
  const columns = db.prepare<[string], ColumnRow>('SELECT name, pk FROM pragma_table_xinfo(?)').all(found.name)
  const column = columns.find(({ name }) => same(name, date_column))
  if (column === undefined) throw new NonRetryableError(`table "${table}": has no column "${date_column}"`)
  const primary = columns.filter(({ pk }) => pk > 0).map(({ name }) => quote(name))
  // A column may have the name of the row's number, and need not be unique.
  const number = ['rowid', '_rowid_', 'oid'].find((alias) => !columns.some(({ name }) => same(name, alias)))
  const key = found.wr === 1 ? primary : number
  if (key === undefined) throw new NonRetryableError(`table "${table}": its columns hide the numbers of its rows`)
  return { name: quote(found.name), column: quote(column.name), key }
}

interface TableRow {
  schema: string
  name: string
  type: string
  /** 1 where it is WITHOUT ROWID. */
  wr: number
}

interface ColumnRow {
  name: string
  /** Place in the primary key from 1, or 0. */
  pk: number
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/**
 * SQLite has no type for dates, so each value says by itself what it is: a text is ISO 8601, in UTC where it names no
 * offset; a number is unix time in seconds or milliseconds, by its size. All else is never old: 0, which often stands
 * for "never", and years, days of the Julian calendar, 20240615 or 202406151200, which as unix time would all be long
 * ago. The comparisons with the bare column let an index be used.
 */
function isOld(column: string): string {
  return `(
    (${column} >= ${FIRST_SECONDS} AND ${column} < :seconds AND ${isNumber(column)})
    OR (${column} >= ${FIRST_MS} AND ${column} < :ms AND ${isNumber(column)})
    OR (${column} >= '0000' AND ${column} < :day AND ${isDateText(column)} AND unixepoch(${column}, 'subsec') < :seconds)
  )`
}

function isNumber(column: string): string {
  return `typeof(${column}) IN ('integer', 'real')`
}

/** Without the pattern SQLite would also read "now", a time without a day, and numbers of days. */
function isDateText(column: string): string {
  return `typeof(${column}) = 'text' AND ${column} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'`
}

function refuseOtherDates(db: Database, { table, date_column }: Wanted, name: string, column: string): void {
  const isTime = `(${column} >= ${FIRST_SECONDS} AND ${isNumber(column)})`
  const isDate = `${isTime} OR (${isDateText(column)} AND unixepoch(${column}) IS NOT NULL)`
  const sample = `SELECT ${column} FROM ${name} WHERE ${column} <> 0 LIMIT 1000`
  const seen = db.prepare<[], { all: number; dates: number }>(
    `SELECT count(*) AS "all", count(CASE WHEN ${isDate} THEN 1 END) AS dates FROM (${sample})`,
  )
  const { all, dates } = seen.all()[0] ?? { all: 0, dates: 0 }
  if (all === 0 || dates > 0) return
  throw new NonRetryableError(
    `table "${table}": column "${date_column}" must hold ISO 8601 texts, or unix time in seconds or milliseconds`,
  )
}

/** Others may be writing: tries again from the event loop. */
async function retryBusy<T>({ table }: Wanted, act: () => T): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return act()
    } catch (error) {
      if (error instanceof NonRetryableError) throw error
      const code = codeOf(error)
      const busy = /^SQLITE_(BUSY|LOCKED)/.test(code)
      if (!busy) throw new Error(`table "${table}": ${error instanceof Error ? error.message : error} (${code})`)
      if (tries === BUSY_TRIES) throw new Error(`table "${table}": its SQLite file is locked by another program`)
      await sleep(BUSY_MS)
    }
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
}
