// A transfer as its target knows it: begun once, by nobody else, from a file and to a schema where nothing else goes on.
import { randomUUID } from 'node:crypto'
import { StoreOpenError } from '../store/open-error.js'
import type { Connection, Queries } from '../store/postgres/connection.js'
import { migrate } from '../store/postgres/migrate.js'
import { aliveNodes } from '../store/postgres/nodes.js'
import { noteTransfer, transferOf } from '../store/sqlite/transfer.js'
import type { Key } from './pieces.js'

/** The last row that has come. */
export interface Reached {
  table: string
  key: Key
}

export interface Transfer {
  name: string
  /** Null before the first row. */
  reached: Reached | null
  /** All rows have come, and were found to be right. */
  finished: boolean
}

/** Tables that have rows without a job in them. */
const OWN = ['migrations', 'nodes', 'service', 'transfers']

/**
 * Begins the transfer of `file`, or goes on with it, unless `look` rejects. Its name is on disk beside the file before
 * the target has it.
 *
 * @throws StoreOpenError where the target has something else
 */
export function beginTransfer(
  target: Connection,
  schema: string,
  file: string,
  look: () => Promise<void>,
): Promise<Transfer> {
  return migrate(target, schema, async () => {
    const named = transferOf(file)
    const known = await find(target, schema, named)
    if (known?.finished) return known
    await refuseNodes(target, schema)
    await look()
    if (known !== null) return known
    await refuseRows(target, schema)
    const name = named ?? randomUUID()
    // The jobs that come are those of the service that the file names.
    await target.run('DELETE FROM service')
    await target.run('INSERT INTO transfers (name, file) VALUES ($1, $2)', [name, file])
    if (named === null) noteTransfer(file, name)
    return { name, reached: null, finished: false }
  })
}

/** In the transaction that brings the rows up to there. */
export const reach = (target: Queries, { name }: Transfer, reached: Reached) =>
  target.run('UPDATE transfers SET reached = $2 WHERE name = $1', [name, JSON.stringify(reached)])

/** From now on nodes may start. */
export async function finishTransfer(target: Connection, schema: string, { name }: Transfer): Promise<void> {
  await migrate(target, schema, async () => {
    // One that was stopped before all this began, and is awake again.
    await refuseNodes(target, schema)
    await target.run('UPDATE transfers SET finished_at = clock_timestamp() WHERE name = $1', [name])
  })
}

async function find(target: Queries, schema: string, name: string | null): Promise<Transfer | null> {
  const [row] = await target.all<{ name: string; file: string; reached: string | null; finished: boolean }>(
    'SELECT name, file, reached, finished_at IS NOT NULL AS finished FROM transfers',
  )
  if (row === undefined) return null
  if (row.name === name) return { ...row, reached: row.reached === null ? null : JSON.parse(row.reached) }
  throw new StoreOpenError(
    `schema ${schema} has jobs of another file, ${row.file}: ` +
      (row.finished ? 'choose another data.database.master.schema' : `transfer the rest of that one, or ${elsewhere}`),
  )
}

const elsewhere = 'drop the schema, or choose another data.database.master.schema'

async function refuseNodes(target: Queries, schema: string): Promise<void> {
  const [node] = await aliveNodes(target)
  if (node === undefined) return
  throw new StoreOpenError(
    `node ${node} runs on schema ${schema}, or did a moment ago: stop it, then run jobmill migrate again`,
  )
}

async function refuseRows(target: Queries, schema: string): Promise<void> {
  const tables = await target.all<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name`,
  )
  for (const { name } of tables.filter((table) => !OWN.includes(table.name))) {
    const [row] = await target.all(`SELECT 1 FROM ${name} LIMIT 1`)
    if (row !== undefined)
      throw new StoreOpenError(`schema ${schema} is in use, there are rows in its table ${name}: ${elsewhere}`)
  }
}
