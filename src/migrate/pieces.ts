// Rows of a table of the file, a bounded piece at a time, in the order of its key.
import type BetterSqlite3 from 'better-sqlite3'
import type { Table } from './tables.js'

type Value = string | number | null
/** The values of a row's key. */
export type Key = Value[]

export interface Piece {
  rows: number
  /** The values of each column. */
  columns: Value[][]
  /** The key of its last row. */
  last: Key
}

const MOST_ROWS = 2_000
/** Characters; the row that carries a piece over them ends it. */
const MOST_LETTERS = 1_048_576

/** Answers a function that reads the piece after that key, or the first; null: there is none. */
export function createReader(file: BetterSqlite3.Database, { from, columns, order }: Table) {
  const select = `SELECT ${[...columns, ...order]} FROM ${from}`
  const sorted = `ORDER BY ${order} LIMIT ${MOST_ROWS}`
  const first = file.prepare<Value[], Value[]>(`${select} ${sorted}`).raw()
  const next = file.prepare<Value[], Value[]>(`${select} WHERE (${order}) > (${order.map(() => '?')}) ${sorted}`).raw()

  return (after: Key | null): Piece | null => {
    const rows: Value[][] = []
    let letters = 0
    for (const row of after === null ? first.iterate() : next.iterate(...after)) {
      rows.push(row)
      for (const value of row) if (typeof value === 'string') letters += value.length
      if (letters > MOST_LETTERS) break
    }
    const last = rows.at(-1)?.slice(columns.length)
    if (last === undefined) return null
    return { rows: rows.length, columns: columns.map((_, i) => rows.map((row) => row[i] ?? null)), last }
  }
}
