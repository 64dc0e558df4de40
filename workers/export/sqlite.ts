// Rows of a foreign SQLite file, opened read-only in the job's own thread.
import { createRequire } from 'node:module'
import { setImmediate as turn } from 'node:timers/promises'
import type BetterSqlite3 from 'better-sqlite3'
import { NonRetryableError, sqlitePackage } from '../../src/define-job.js'
import { type Cell, chosenColumns, type Rows, type Scalar, type Selection, spanOf } from './selection.js'
import type { SqlSource } from './source.js'

const Database: typeof BetterSqlite3 = createRequire(import.meta.url)(sqlitePackage())

/** A batch ends with the row that reaches either: rows may have megabytes each. */
const BATCH = 250
const BATCH_BYTES = 262_144
/** `application_id` of jobmill's own database. */
const JOBMILL = 0x6a6f626d
const BUSY_TIMEOUT_MS = 5_000
/** SQLite's own default. better-sqlite3's is 16,000, which a pass over a large table fills and never reads again. */
const CACHE_KIB = 2_000
/** Numbers below are Unix seconds (until the year 5138), others milliseconds (from 1973 on). */
const SECONDS_BELOW = 1e11

/** Counts and reads in one read transaction, so that both see the same rows. */
export async function openSqliteRows(
  file: string,
  source: SqlSource,
  selection: Selection,
  signal: AbortSignal,
): Promise<Rows> {
  const db = open(file)
  try {
    refuseOwn(db)
    db.exec('BEGIN')
    const from = relation(source)
    const columns = chosenColumns(columnsOf(db, from), selection)
    const { where, values } = condition(selection, source.date_column)
    const select = (what: string) => db.prepare(`SELECT ${what} FROM ${from}${where}`).safeIntegers().raw()
    const count =
      source.query === undefined
        ? countAll(select('count(*)'), values)
        : await countOneByOne(select('1'), values, signal)
    const rows = select(columns.map(quote).join())
    return { columns, count, batches: batches(rows, values, signal), close: () => closeQuietly(db) }
  } catch (error) {
    db.close()
    throw error
  }
}

function open(file: string): BetterSqlite3.Database {
  try {
    const db = new Database(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS })
    db.pragma(`cache_size = -${CACHE_KIB}`)
    return db
  } catch (error) {
    throw new Error(`the SQLite file of the source cannot be opened (${codeOf(error)})`)
  }
}

/** A query that was left in the middle keeps the connection busy; it ends with the garbage, and is only read from. */
async function closeQuietly(db: BetterSqlite3.Database): Promise<void> {
  try {
    db.close()
  } catch {
    // What went wrong before is what the job has to tell.
  }
}

/** jobmill's own database is read through the main thread only: a long read here would let its WAL grow. */
function refuseOwn(db: BetterSqlite3.Database): void {
  if (db.pragma('application_id', { simple: true }) !== JOBMILL) return
  throw new NonRetryableError("the source is jobmill's own database: leave out `source` to export its jobs")
}

function relation({ table, query }: SqlSource): string {
  if (query !== undefined) return `(${query.replace(/;\s*$/, '')}\n)`
  return String(table).split('.').map(quote).join('.')
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function columnsOf(db: BetterSqlite3.Database, from: string): string[] {
  try {
    return db
      .prepare(`SELECT * FROM ${from} LIMIT 0`)
      .columns()
      .map(({ name }) => name)
  } catch (error) {
    if (!/^SQLITE_ERROR/.test(codeOf(error))) throw error
    throw new NonRetryableError(`the source is not set up right: ${error instanceof Error ? error.message : error}`)
  }
}

function condition({ equal, date }: Selection, date_column: string | undefined) {
  const terms: string[] = []
  const values: unknown[] = []
  for (const [column, value] of Object.entries(equal)) {
    terms.push(`${quote(column)} IS ?`)
    values.push(bindable(value))
  }
  if (date !== null && date_column !== undefined) {
    const { term, bounds } = dateCondition(quote(date_column), date)
    terms.push(term)
    values.push(...bounds)
  }
  return { where: terms.length === 0 ? '' : ` WHERE ${terms.join(' AND ')}`, values }
}

/**
 * SQLite has no type for times: each value is judged by what it is, a text of ISO 8601, Unix seconds or milliseconds.
 * Each term is a range, so an index on the column serves all three.
 */
function dateCondition(column: string, prefix: string) {
  const { from, to } = spanOf(prefix)
  const texts = [...new Set([prefix.replace(' ', 'T'), prefix.replace('T', ' ')])]
  // In a column declared DATE a year alone would be compared as a number, below which there is no text.
  const first = (text: string) => (text.length === 4 ? `${text}-` : text)
  const ranges: { kind: string; bounds: (string | number)[] }[] = [
    ...texts.map((text) => ({ kind: "= 'text'", bounds: [first(text), `${text}\u{10ffff}`] })),
    { kind: "<> 'text'", bounds: [from / 1_000, Math.min(to / 1_000, SECONDS_BELOW)] },
    { kind: "<> 'text'", bounds: [Math.max(from, SECONDS_BELOW), to] },
  ]
  const terms = ranges.map(({ kind }) => `(${column} >= ? AND ${column} < ? AND typeof(${column}) ${kind})`)
  return { term: `(${terms.join(' OR ')})`, bounds: ranges.flatMap(({ bounds }) => bounds) }
}

function bindable(value: Scalar): unknown {
  return typeof value === 'boolean' ? Number(value) : value
}

function countAll(statement: BetterSqlite3.Statement, values: unknown[]): number {
  const [[count]] = statement.all(...values) as [[bigint]]
  return Number(count)
}

/** A query may be endless: between rows its job can be stopped, inside count(*) it could not. */
async function countOneByOne(
  statement: BetterSqlite3.Statement,
  values: unknown[],
  signal: AbortSignal,
): Promise<number> {
  let count = 0
  for (const _ of statement.iterate(...values)) {
    count += 1
    if (count % 10_000 === 0) await pause(signal)
  }
  return count
}

async function* batches(
  statement: BetterSqlite3.Statement,
  values: unknown[],
  signal: AbortSignal,
): AsyncGenerator<Cell[][]> {
  let batch: Cell[][] = []
  let size = 0
  for (const row of statement.iterate(...values) as Iterable<Cell[]>) {
    batch.push(row)
    for (const cell of row) if (typeof cell === 'string' || cell instanceof Uint8Array) size += cell.length
    if (batch.length < BATCH && size < BATCH_BYTES) continue
    yield batch
    batch = []
    size = 0
    await pause(signal)
  }
  yield batch
}

async function pause(signal: AbortSignal): Promise<void> {
  await turn()
  signal.throwIfAborted()
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
}
