// Brings the schema up to date, one process at a time; a newer one is refused.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { StoreOpenError } from '../open-error.js'
import { type Connection, type Queries, quoted } from './connection.js'

const OLDEST = 140_000
/** Names the lock: "jobm" and "igra", as numbers. */
const LOCK = [0x6a6f626d, 0x69677261]

/**
 * `enter` runs in the same transaction: nobody else enters meanwhile. Answers what it does.
 *
 * @throws StoreOpenError
 */
export async function migrate<T>(db: Connection, schema: string, enter: () => Promise<T>): Promise<T> {
  const [server] = await db.all<{ version: string }>(`SELECT current_setting('server_version_num') AS version`)
  if (Number(server?.version) < OLDEST)
    throw new StoreOpenError(`the server has version ${server?.version}, jobmill needs PostgreSQL 14 or later`)
  await db.begin()
  try {
    await db.run('SELECT pg_advisory_xact_lock($1, $2)', LOCK)
    await bringUpToDate(db, schema)
    const entered = await enter()
    await db.commit()
    return entered
  } catch (error) {
    await db.rollback()
    throw error
  }
}

async function bringUpToDate(db: Connection, schema: string): Promise<void> {
  await db.run(`CREATE SCHEMA IF NOT EXISTS ${quoted(schema)}`)
  await db.run('CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY)')
  const known = migrations()
  const newest = known.at(-1)?.version ?? 0
  const [{ version } = { version: 0 }] = await db.all<{ version: number }>(
    'SELECT coalesce(max(version), 0) AS version FROM migrations',
  )
  if (version > newest)
    throw new StoreOpenError(
      `schema ${schema} is of version ${version}, this jobmill knows versions up to ${newest}: use a newer jobmill`,
    )
  for (const migration of known.filter((one) => one.version > version)) {
    await db.run(migration.sql)
    await db.run('INSERT INTO migrations VALUES ($1)', [migration.version])
  }
}

/** @throws StoreOpenError while not all has come that a SQLite file had */
export async function refuseUnfinished(db: Queries, schema: string): Promise<void> {
  const [unfinished] = await db.all<{ file: string }>('SELECT file FROM transfers WHERE finished_at IS NULL')
  if (unfinished === undefined) return
  throw new StoreOpenError(
    `schema ${schema} has only a part of ${unfinished.file}: "jobmill migrate --from ${unfinished.file}" brings the rest, ` +
      `then nodes may start`,
  )
}

function migrations(): { version: number; sql: string }[] {
  const folder = fileURLToPath(new URL('../sql/postgres/', import.meta.url))
  return readdirSync(folder)
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .sort()
    .map((name) => ({ version: Number(name.slice(0, 4)), sql: readFileSync(folder + name, 'utf8') }))
}
