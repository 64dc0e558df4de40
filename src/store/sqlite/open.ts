// Opens the database file so that it can be trusted: one process, full fsync, known schema, no corruption seen.
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type BetterSqlite3 from 'better-sqlite3'
import { StoreOpenError } from '../open-error.js'
import { Database } from './binding.js'

export interface OpenDatabase {
  db: BetterSqlite3.Database
  close(): void
}

/** "jobm" in the header of the file: a database of another program is never taken over. */
const APPLICATION_ID = 0x6a6f626d
/** A database up to this size is checked whole at every start; a larger one would hold the start up. */
const QUICK_CHECK_BYTES = 64 * 1024 * 1024
/** How long a start waits for locks, and how long a write freezes the event loop for one before it tries again from there. */
const OPEN_TIMEOUT_MS = 1_000
const BUSY_TIMEOUT_MS = 25
const WAL_LIMIT_BYTES = 64 * 1024 * 1024

/**
 * Where a full disk is in the way, it is tried once more after `onFull`, which may make room.
 *
 * @throws StoreOpenError where the file is in use, corrupt, newer than this program, or cannot be written
 */
export function openDatabase(name: string, onFull: () => void = () => {}): OpenDatabase {
  return describing(name, () => {
    mkdirSync(dirname(name), { recursive: true })
    // A link to a file shares its lock.
    const file = existsSync(name) ? realpathSync(name) : name
    try {
      return openLocked(file)
    } catch (error) {
      if (codeOf(error) !== 'SQLITE_FULL') throw error
      onFull()
      return openLocked(file)
    }
  })
}

function openLocked(file: string): OpenDatabase {
  const lock = takeLock(file)
  try {
    // The connection carries the lock: a lock that only `close` knew would be collected, and so released, before it.
    const db = Object.assign(openChecked(file), { lock })
    return {
      db,
      close() {
        db.close()
        lock.close()
      },
    }
  } catch (error) {
    lock.close()
    throw error
  }
}

/**
 * An exclusive transaction held open on a small database beside the file: the operating system releases it when
 * the process dies, however it dies.
 */
function takeLock(file: string): BetterSqlite3.Database {
  const lock = new Database(`${file}.lock`, { timeout: OPEN_TIMEOUT_MS })
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock.close()
    throw error
  }
}

function openChecked(file: string): BetterSqlite3.Database {
  const newest = readMigrations().at(-1)?.version ?? 0
  inspect(file, newest)
  const db = new Database(file, { timeout: OPEN_TIMEOUT_MS })
  try {
    setPragmas(db)
    migrate(db)
    db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** Read-only: a connection that may write changes the file when it closes, if only by a checkpoint of its WAL. */
function inspect(file: string, newest: number): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  refuseHalf(file, size)
  if (size === 0) return
  const db = new Database(file, { readonly: true, timeout: OPEN_TIMEOUT_MS })
  try {
    refuseForeign(db, file)
    refuseNewer(db, file, newest)
    refuseCorrupt(db, file)
  } finally {
    db.close()
  }
}

/** SQLite would take an empty file for a new database and delete its WAL, or go on without the WAL: jobs are lost both ways. */
function refuseHalf(file: string, size: number): void {
  const wal = statSync(`${file}-wal`, { throwIfNoEntry: false })
  if (size === 0 && wal !== undefined && wal.size > 0)
    throw new StoreOpenError(corrupt(file, `it is empty or missing, but ${file}-wal, its WAL, has jobs in it`))
  // A clean end removes both, a crash leaves both.
  if (wal === undefined && existsSync(`${file}-shm`))
    throw new StoreOpenError(
      `${file}-wal is missing, and the latest jobs with it; put it back, or delete ${file}-shm to go on without them`,
    )
}

function refuseForeign(db: BetterSqlite3.Database, file: string): void {
  const tables = db.prepare('SELECT count(*) AS n FROM sqlite_schema').all()[0] as { n: number }
  const owner = db.pragma('application_id', { simple: true })
  if (owner === APPLICATION_ID || (owner === 0 && tables.n === 0)) return
  throw new StoreOpenError(`${file} is a database of another program; choose another data.database.master.source`)
}

function refuseNewer(db: BetterSqlite3.Database, file: string, newest: number): void {
  const version = Number(db.pragma('user_version', { simple: true }))
  if (version <= newest) return
  throw new StoreOpenError(
    `${file} has schema ${version}, this jobmill knows schemas up to ${newest}: use a newer jobmill`,
  )
}

function setPragmas(db: BetterSqlite3.Database): void {
  db.pragma('journal_mode = WAL')
  // better-sqlite3 opens WAL databases with NORMAL, which may lose acknowledged jobs in a power cut.
  db.pragma('synchronous = FULL')
  db.pragma(`journal_size_limit = ${WAL_LIMIT_BYTES}`)
  db.pragma('cache_size = -32768')
  const [mode, sync] = [db.pragma('journal_mode', { simple: true }), db.pragma('synchronous', { simple: true })]
  if (mode !== 'wal' || sync !== 2) {
    throw new StoreOpenError(`SQLite refuses journal_mode=WAL with synchronous=FULL (it has ${mode}, ${sync})`)
  }
}

function refuseCorrupt(db: BetterSqlite3.Database, file: string): void {
  if (statSync(file).size > QUICK_CHECK_BYTES) return
  const answer = db.pragma('quick_check(1)', { simple: true })
  if (answer !== 'ok') throw new StoreOpenError(corrupt(file, String(answer)))
}

function corrupt(file: string, what: string): string {
  return `${file} is corrupt (${what}); it is kept as it is. Restore a backup, or set another data.database.master.source`
}

interface Migration {
  version: number
  sql: string
}

function migrate(db: BetterSqlite3.Database): void {
  const current = Number(db.pragma('user_version', { simple: true }))
  for (const { version, sql } of readMigrations().filter(({ version }) => version > current)) {
    db.transaction(() => {
      db.exec(sql)
      db.pragma(`application_id = ${APPLICATION_ID}`)
      db.pragma(`user_version = ${version}`)
    })()
  }
}

function readMigrations(): Migration[] {
  const folder = fileURLToPath(new URL('../sql/sqlite/', import.meta.url))
  return readdirSync(folder)
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .sort()
    .map((name) => ({ version: Number(name.slice(0, 4)), sql: readFileSync(folder + name, 'utf8') }))
}

/** Turns what the system and SQLite answer into a sentence that helps. */
function describing<T>(file: string, body: () => T): T {
  try {
    return body()
  } catch (error) {
    if (error instanceof StoreOpenError || !(error instanceof Error)) throw error
    const code = codeOf(error)
    if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
      throw new StoreOpenError(`${file} is in use by another process: one jobmill a database file`)
    }
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) throw new StoreOpenError(corrupt(file, error.message))
    throw new StoreOpenError(`${file} cannot be opened for writing (${code || 'no code'}: ${error.message})`)
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
