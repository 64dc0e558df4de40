// jobmill migrate: brings everything that a SQLite file holds to PostgreSQL, and holds it against the file at the end.
import { existsSync } from 'node:fs'
import type BetterSqlite3 from 'better-sqlite3'
import { StoreOpenError } from '../store/open-error.js'
import { type Connection, openConnection } from '../store/postgres/connection.js'
import { codeOf } from '../store/postgres/refusals.js'
import { openDatabase } from '../store/sqlite/open.js'
import { type ArtifactTarget, copyArtifacts, findArtifacts, openTarget } from './artifacts.js'
import { copyRows, renumber } from './copy.js'
import { readTables } from './tables.js'
import { beginTransfer, finishTransfer } from './transfer.js'
import { type Count, compareRows, countRows } from './verify.js'

export interface MigrateOptions {
  /** The SQLite file. No node starts on it meanwhile, nor afterwards. */
  from: string
  /** postgres://… */
  source: string
  /** In which nothing is yet, or what an interrupted transfer of the same file left. */
  schema: string
  /** The folder of its artifacts, and the folder that nodes share from now on; null: the database has them then. */
  artifacts: { from: string; to: string | null }
  tell(line: string): void
}

export interface Migrated {
  /** Rows that this call brought; an interrupted one may have brought others. */
  brought: number
  /** All that were there, but those that nodes read where they are. */
  artifacts: number
  /** On both sides, the same; empty where all had come, and been counted, before. */
  counts: Count[]
}

/** To count millions of rows takes its time. */
const TIMEOUTS = { connect: 5_000, statement: 600_000, answer: 610_000 }
const TELL_MS = 1_000

/**
 * Killed at any moment, it may be called again and goes on.
 *
 * @throws StoreOpenError where one of the two cannot be used; store_busy where PostgreSQL is away
 */
export async function migrate(options: MigrateOptions): Promise<Migrated> {
  const { from, source, schema } = options
  if (!existsSync(from)) throw new StoreOpenError(`there is no file ${from}`)
  // With its lock, and of the newest version: what is not a database of jobmill is refused here.
  const { db, close } = openDatabase(from)
  const connection = { source, schema, node: 'migrate', timeouts: TIMEOUTS }
  const target = openConnection(connection)
  const files = openTarget(connection, options.artifacts.to)
  try {
    return await transferAll(db, target, files, options)
  } catch (error) {
    if (error instanceof StoreOpenError || codeOf(error) === '') throw error
    const why = error instanceof Error ? error.message : error
    throw new StoreOpenError(`the transfer was cut off (${why}): run jobmill migrate again, it goes on where it was`)
  } finally {
    await Promise.all([target.close(), files.close()])
    close()
  }
}

async function transferAll(
  file: BetterSqlite3.Database,
  target: Connection,
  files: ArtifactTarget,
  { schema, artifacts: { from, to }, tell }: MigrateOptions,
): Promise<Migrated> {
  let missing = 0
  const transfer = await beginTransfer(target, schema, file.name, async () => {
    missing = await findArtifacts(file, from)
  })
  if (transfer.finished) {
    tell(`all of ${file.name} has come to schema ${schema} before`)
    return { brought: 0, artifacts: 0, counts: [] }
  }
  if (transfer.reached !== null) tell(`going on with ${transfer.reached.table}`)
  const tables = await readTables(file, target)
  const copied = createProgress('brought', tell)
  const brought = await copyRows(file, target, tables, transfer, copied)
  await renumber(file, target)
  const artifacts = from === to ? 0 : await copyArtifacts(file, from, files, () => copied('artifacts', 1))
  const counts = await countRows(file, target, tables)
  refuseOthers(counts, schema)
  tell('all has come, comparing it')
  const compared = createProgress('compared', tell)
  for (const table of tables) await compareRows(file, target, table, (rows) => compared(table.name, rows))
  await finishTransfer(target, schema, transfer)
  for (const line of reportOf(counts, schema)) tell(line)
  tell(`${artifacts} artifacts brought and compared, ${missing} were missing in ${from}`)
  tell(`${brought} rows brought, all rows compared: they are the same, nodes may start on schema ${schema}`)
  return { brought, artifacts, counts }
}

function refuseOthers(counts: readonly Count[], schema: string): void {
  const wrong = counts.find((count) => count.file !== count.target)
  if (wrong === undefined) return
  throw new StoreOpenError(
    `${wrong.what}: the file has ${wrong.file} rows, schema ${schema} has ${wrong.target}, somebody else writes there: ` +
      `drop the schema, and run jobmill migrate again`,
  )
}

function reportOf(counts: readonly Count[], schema: string): string[] {
  const line = (...[what, file, target]: (string | number)[]) =>
    `${String(what).padEnd(20)}${String(file).padStart(12)}${String(target).padStart(16)}`
  return [line('', 'file', schema), ...counts.map(({ what, file, target }) => line(what, file, target))]
}

/** Tells now and then how far a table, or what else comes one by one, is. */
function createProgress(what: string, tell: (line: string) => void) {
  let table = ''
  let rows = 0
  let told_at = performance.now()
  return (now: string, more: number): void => {
    rows = now === table ? rows + more : more
    table = now
    if (performance.now() - told_at < TELL_MS) return
    told_at = performance.now()
    tell(`${table}: ${rows} ${what}`)
  }
}
