// Brings the schema up to date, one process at a time, as far as nodes that are alive can work with it.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { StoreOpenError } from '../open-error.js'
import { type Connection, type Queries, quoted } from './connection.js'
import { isConflict } from './refusals.js'

const OLDEST = 140_000
/** How long a change of a table waits for others that use it. */
const LOCK_MS = 2_000
/** Names the lock: "jobm" and "igra", as numbers. */
const LOCK = [0x6a6f626d, 0x69677261]

/**
 * `enter` runs in the same transaction: nobody else enters meanwhile. Answers what it does.
 *
 * @throws StoreOpenError
 */
export async function migrate<T>(db: Connection, schema: string, enter: () => Promise<T>): Promise<T> {
  const [server] = await db.all<{ version: string; encoding: string }>(
    `SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding`,
  )
  if (Number(server?.version) < OLDEST)
    throw new StoreOpenError(`the server has version ${server?.version}, jobmill needs PostgreSQL 14 or later`)
  // Others have no form for some of what may be in a payload.
  if (server?.encoding !== 'UTF8')
    throw new StoreOpenError(`the database has the encoding ${server?.encoding}, jobmill needs UTF8`)
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
  // Asked first: to make one that is there takes a right that its owner may not have.
  const [there] = await db.all('SELECT 1 FROM pg_namespace WHERE nspname = $1', [schema])
  if (there === undefined) await db.run(`CREATE SCHEMA ${quoted(schema)}`)
  await db.run('CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, oldest integer NOT NULL)')
  const [{ version, oldest } = { version: 0, oldest: 0 }] = await db.all<{ version: number; oldest: number }>(
    'SELECT coalesce(max(version), 0) AS version, coalesce(max(oldest), 0) AS oldest FROM migrations',
  )
  if (oldest > VERSION)
    throw new StoreOpenError(
      `schema ${schema} is of version ${version}, which takes a jobmill that knows version ${oldest}, this one knows ` +
        `versions up to ${VERSION}: use a newer jobmill`,
    )
  const missing = MIGRATIONS.filter((one) => one.version > version)
  if (version > 0) await refuseToStrand(db, Math.max(0, ...missing.map((one) => one.oldest)))
  // Behind whoever waits to change a table, all that use it wait, too.
  if (missing.length > 0) await db.run(`SELECT set_config('lock_timeout', '${LOCK_MS}ms', true)`)
  for (const migration of missing) {
    await db.run(migration.sql).catch(heldUp)
    await db.run('INSERT INTO migrations VALUES ($1, $2)', [migration.version, migration.oldest])
  }
}

/** @throws StoreOpenError where somebody else holds a table */
function heldUp(error: unknown): never {
  if (!isConflict(error)) throw error
  throw new StoreOpenError(
    'the schema cannot be changed while a transaction of somebody else uses its tables, such as a dump: start again after it',
  )
}

/** @throws StoreOpenError where nodes are alive that know no version from `oldest` on */
async function refuseToStrand(db: Queries, oldest: number): Promise<void> {
  const nodes = await db.all<{ id: string }>(
    'SELECT id FROM nodes WHERE heartbeat_at + lease > clock_timestamp() AND knows < $1 ORDER BY id',
    [oldest],
  )
  if (nodes.length === 0) return
  const names = nodes.map(({ id }) => id).join(', ')
  throw new StoreOpenError(
    `nodes of an older jobmill are alive that could not go on with this one: stop ${names} first`,
  )
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

interface Migration {
  version: number
  /** Nodes that know this version, or a later one, can work on the schema once this was done to it. */
  oldest: number
  sql: string
}

function readMigrations(): Migration[] {
  const folder = fileURLToPath(new URL('../sql/postgres/', import.meta.url))
  return readdirSync(folder)
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .sort()
    .map((name) => {
      const sql = readFileSync(folder + name, 'utf8')
      const [, oldest] = /^-- Nodes that know version (\d+) can work with it\.$/m.exec(sql) ?? []
      if (oldest === undefined) throw new Error(`${name} does not say which nodes can work with it`)
      return { version: Number(name.slice(0, 4)), oldest: Number(oldest), sql }
    })
}

const MIGRATIONS = readMigrations()
/** The latest version of the schema that this jobmill knows. */
export const VERSION = MIGRATIONS.at(-1)?.version ?? 0
