// What is transferred: every table of the file that jobs or schedules are in, and how its columns are typed where they go.
import type BetterSqlite3 from 'better-sqlite3'
import type { Queries } from '../store/postgres/connection.js'

/** In this order: rows come after those that they name. */
const NAMES = [
  'service',
  ...['jobs', 'attempts', 'logs', 'checkpoints', 'tags', 'keys', 'key_holders', 'dependencies', 'unblocking'],
  ...['batches', 'schedules', 'ticks', 'digests', 'digest_events', 'pauses', 'starts', 'counts'],
]
/**
 * All nodes share the counts of the file: they are one part of those in PostgreSQL, which has what ever ended beside them,
 * and counts as pending what runs.
 */
const COUNTS = `(SELECT 0 AS part, CASE status WHEN 'processing' THEN 'pending' ELSE status END AS status, type,
  sum(coalesce(counts.n, 0)) AS n, sum(coalesce(bytes, 0)) AS bytes, sum(coalesce(totals.n, 0)) AS ever
  FROM counts FULL JOIN totals USING (status, type) GROUP BY 2, type)`
/** A run that goes on is in the row of its job. */
const ATTEMPTS = '(SELECT * FROM attempts WHERE outcome IS NOT NULL)'

export interface Table {
  name: string
  /** Where its rows are read in the file. */
  from: string
  columns: string[]
  /** The types of the columns in PostgreSQL. */
  types: string[]
  /** What orders the rows of the file, each with a value of its own. */
  order: string[]
  /** The columns by which a row is found in PostgreSQL. */
  key: string[]
}

export async function readTables(file: BetterSqlite3.Database, target: Queries): Promise<Table[]> {
  const types = new Map<string, string>()
  for (const { table, column, type } of await target.all<{ table: string; column: string; type: string }>(
    `SELECT table_name AS table, column_name AS column, udt_name AS type
     FROM information_schema.columns WHERE table_schema = current_schema()`,
  ))
    types.set(`${table}.${column}`, type)

  return NAMES.map((name) => {
    const from = { counts: COUNTS, attempts: ATTEMPTS }[name] ?? name
    const columns = file
      .prepare(`SELECT * FROM ${from}`)
      .columns()
      .map((column) => column.name)
    const primary = file
      .prepare<[string], { name: string }>('SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk')
      .all(name)
      .map((column) => column.name)
    const keyed = primary.length > 0
    return {
      name,
      from,
      columns,
      types: columns.map((column) => typeOf(types, `${name}.${column}`)),
      order: keyed ? primary : ['rowid'],
      key: keyed ? primary : columns,
    }
  })
}

function typeOf(types: ReadonlyMap<string, string>, column: string): string {
  const type = types.get(column)
  if (type === undefined) throw new Error(`PostgreSQL has no column ${column}`)
  return type
}
