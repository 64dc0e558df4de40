// Holds what has come against the file: every row, value by value, and as many rows as there are in the file.
import type BetterSqlite3 from 'better-sqlite3'
import { StoreOpenError } from '../store/open-error.js'
import type { Queries } from '../store/postgres/connection.js'
import { arraysOf } from './copy.js'
import { createReader } from './pieces.js'
import type { Table } from './tables.js'

/** How many rows there are on both sides. */
export interface Count {
  what: string
  file: number
  target: number
}

/** Rows of each table, then jobs of each status. */
export async function countRows(
  file: BetterSqlite3.Database,
  target: Queries,
  tables: readonly Table[],
): Promise<Count[]> {
  const counts: Count[] = []
  for (const { name, from } of tables) {
    const [there] = file.prepare<[], { n: number }>(`SELECT count(*) AS n FROM ${from}`).all()
    const [here] = await target.all<{ n: number }>(`SELECT count(*) AS n FROM ${name}`)
    counts.push({ what: name, file: there?.n ?? 0, target: here?.n ?? 0 })
  }
  const byStatus = 'SELECT status, count(*) AS n FROM jobs GROUP BY status ORDER BY status'
  const here = new Map((await target.all<{ status: string; n: number }>(byStatus)).map(({ status, n }) => [status, n]))
  for (const { status, n } of file.prepare<[], { status: string; n: number }>(byStatus).all())
    counts.push({ what: `jobs ${status}`, file: n, target: here.get(status) ?? 0 })
  return counts
}

/** @throws StoreOpenError where a row differs */
export async function compareRows(
  file: BetterSqlite3.Database,
  target: Queries,
  table: Table,
  tell: (rows: number) => void,
): Promise<void> {
  const read = createReader(file, table)
  for (let piece = read(null); piece !== null; piece = read(piece.last)) {
    const [other] = await target.all<Record<string, unknown>>(otherOf(table), piece.columns)
    if (other !== undefined)
      throw new StoreOpenError(
        `a row of ${table.name} is not what it is in the file (${JSON.stringify(other)}): drop the schema, and run ` +
          `jobmill migrate again`,
      )
    tell(piece.rows)
  }
}

/** The key of one that is not there, or with other values; each is looked for by itself, by the index of its key. */
function otherOf(table: Table): string {
  const { name, columns, key } = table
  const row = (of: string) => `(${columns.map((column) => `${of}.${column}`)})`
  const same = key.map((column) => `there.${column} = own.${column}`).join(' AND ')
  return `SELECT ${key.map((column) => `own.${column}`)} FROM unnest(${arraysOf(table)}) AS own (${columns})
    WHERE (SELECT true FROM ${name} AS there WHERE ${same} AND ${row('there')} IS NOT DISTINCT FROM ${row('own')} LIMIT 1)
      IS NOT TRUE LIMIT 1`
}
