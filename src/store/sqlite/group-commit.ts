// Group commit: all writes of one turn of the event loop share one transaction and one fsync.
import type Database from 'better-sqlite3'
import { ServiceError } from '../../errors.js'

interface Write {
  work: () => unknown
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

export interface GroupCommit {
  /**
   * Runs `work` inside the next transaction and resolves with what it returned once that is on disk. `work` is
   * synchronous and may be run again, so it leaves nothing behind but rows. One that throws fails alone. A
   * ServiceError that it returns is a refusal and rejects; answers come in the order of the writes.
   */
  write<T>(work: () => T | ServiceError): Promise<Exclude<T, ServiceError>>
  /** Why the database cannot be trusted any more, or null. */
  failure(): string | null
  /** Resolves when everything written before has been answered. */
  drain(): Promise<void>
}

const BUSY_PAUSE_MS = 20

export interface GroupCommitOptions {
  /** Milliseconds that a foreign lock on the database is waited for, from the event loop, before writes are refused. */
  busy_patience?: number
  /** Told whenever a full disk is in the way, also of opening the database. */
  onFull?(): void
  /** Told after each transaction: how many writes shared it, and its milliseconds. */
  onCommit?(writes: number, ms: number): void
  /** Told once, when the database cannot be trusted any more. */
  onFailure?(why: string): void
}

export function createGroupCommit(
  db: Database.Database,
  { busy_patience = 5_000, onFull = () => {}, onCommit = () => {}, onFailure = () => {} }: GroupCommitOptions = {},
): GroupCommit {
  const begin = db.prepare('BEGIN IMMEDIATE')
  const commit = db.prepare('COMMIT')
  const rollback = db.prepare('ROLLBACK')
  let queue: Write[] = []
  let scheduled = false
  let busy_since: number | null = null
  let failed: string | null = null
  const drained: (() => void)[] = []

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    if (busy_since === null) setImmediate(flush)
    else setTimeout(flush, BUSY_PAUSE_MS)
  }

  function flush(): void {
    scheduled = false
    const writes = queue
    queue = []
    try {
      if (failed !== null) throw new ServiceError('outcome_unknown', failed)
      const begun = performance.now()
      const results = runAll(writes)
      onCommit(writes.length, performance.now() - begun)
      answer(writes, results)
      busy_since = null
    } catch (error) {
      if (isBusy(error) && withinPatience()) queue = [...writes, ...queue]
      else refuse(writes, error)
    }
    if (queue.length > 0) schedule()
    else for (const done of drained.splice(0)) done()
  }

  /** The common case costs no savepoints: only when a write throws is the whole group run again, each in its own. */
  function runAll(writes: Write[]): Result[] {
    try {
      return inTransaction(() => writes.map(({ work }) => ({ value: work() })))
    } catch (error) {
      if (!isOwnFault(error)) throw error
      return inTransaction(() => writes.map(({ work }) => runAlone(work)))
    }
  }

  function inTransaction(body: () => Result[]): Result[] {
    begin.run()
    try {
      const results = body()
      commit.run()
      return results
    } catch (error) {
      // A full disk makes SQLite roll back by itself.
      if (db.inTransaction) rollback.run()
      throw error
    }
  }

  function runAlone(work: () => unknown): Result {
    try {
      return { value: db.transaction(work)() }
    } catch (error) {
      if (!isOwnFault(error)) throw error
      return { error }
    }
  }

  function withinPatience(): boolean {
    busy_since ??= performance.now()
    return performance.now() - busy_since < busy_patience
  }

  function refuse(writes: Write[], error: unknown): void {
    busy_since = null
    if (failed === null && isFatal(error)) {
      failed = `a commit failed (${sqliteCode(error)})`
      onFailure(failed)
    }
    if (sqliteCode(error) === 'SQLITE_FULL') onFull()
    const refusal = asServiceError(error, busy_patience)
    for (const { reject } of writes) reject(refusal)
  }

  return {
    write<T>(work: () => T | ServiceError) {
      return new Promise<Exclude<T, ServiceError>>((resolve, reject) => {
        queue.push({ work, resolve: resolve as (value: unknown) => void, reject })
        schedule()
      })
    },
    failure: () => failed,
    drain: () => (queue.length === 0 && !scheduled ? Promise.resolve() : new Promise((done) => drained.push(done))),
  }
}

type Result = { value: unknown } | { error: unknown }

function answer(writes: Write[], results: Result[]): void {
  writes.forEach(({ resolve, reject }, i) => {
    const result = results[i] as Result
    if ('error' in result) reject(result.error)
    else if (result.value instanceof ServiceError) reject(result.value)
    else resolve(result.value)
  })
}

function sqliteCode(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : null
}

/** What is wrong with one write and no other: not a full disk, a lock or a broken file. */
function isOwnFault(error: unknown): boolean {
  return /^SQLITE_(CONSTRAINT|TOOBIG)/.test(sqliteCode(error) ?? 'SQLITE_CONSTRAINT')
}

/**
 * Neither a lock nor a full disk: an I/O error, a broken page, a file gone. What is on disk is open now, and to go on
 * from memory could tell of jobs that are not there.
 */
function isFatal(error: unknown): boolean {
  const code = sqliteCode(error)
  return code !== null && code !== 'SQLITE_FULL' && !isBusy(error)
}

function isBusy(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test(sqliteCode(error) ?? '')
}

function asServiceError(error: unknown, busy_patience: number): unknown {
  const code = sqliteCode(error)
  if (code === null) return error
  if (code === 'SQLITE_FULL')
    return new ServiceError('storage_full', 'there is no space left on the disk of the database')
  if (isBusy(error))
    return new ServiceError('store_busy', `another program held the database for ${busy_patience / 1_000} s`)
  return new ServiceError('outcome_unknown', `the database answered ${code}`)
}
