// Brings the rows of the file to PostgreSQL, a piece a transaction, from wherever an earlier transfer ended.
import type BetterSqlite3 from 'better-sqlite3'
import type { Connection } from '../store/postgres/connection.js'
import { createReader } from './pieces.js'
import type { Table } from './tables.js'
import { reach, type Transfer } from './transfer.js'

/** Told how many rows of a table have come. */
type Tell = (table: string, rows: number) => void

/** Killed at any moment, it goes on from the last piece that was committed. Answers how many rows it brought. */
export async function copyRows(
  file: BetterSqlite3.Database,
  target: Connection,
  tables: readonly Table[],
  transfer: Transfer,
  tell: Tell,
): Promise<number> {
  const { reached } = transfer
  const begun = tables.findIndex(({ name }) => name === reached?.table)
  let brought = 0
  for (const [i, table] of tables.entries()) {
    if (i < begun) continue
    const read = createReader(file, table)
    let key = i === begun && reached !== null ? reached.key : null
    for (let piece = read(key); piece !== null; piece = read(key)) {
      key = piece.last
      await target.begin()
      await target.run(insertOf(table), piece.columns)
      await reach(target, transfer, { table: table.name, key })
      await target.commit()
      brought += piece.rows
      tell(table.name, piece.rows)
    }
  }
  return brought
}

/** Keys that PostgreSQL would number itself are kept. */
const insertOf = (table: Table) =>
  `INSERT INTO ${table.name} (${table.columns}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest(${arraysOf(table)})`

/** One parameter a column. */
export const arraysOf = ({ types }: Table): string => types.map((type, i) => `$${i + 1}::${type}[]`).join(', ')

/** What PostgreSQL numbers goes on behind all numbers that the file ever gave: a mail names the last event that it told. */
export async function renumber(file: BetterSqlite3.Database, target: Connection): Promise<void> {
  const given = file.prepare<[], { name: string; seq: number }>('SELECT name, seq FROM sqlite_sequence WHERE seq > 0')
  for (const { name, seq } of given.all())
    await target.all(`SELECT setval(pg_get_serial_sequence($1, 'id'), $2)`, [name, seq])
}
