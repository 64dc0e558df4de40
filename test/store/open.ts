// A SQLite store in a fresh folder, with the connection that it writes through.
import { join } from 'node:path'
import type BetterSqlite3 from 'better-sqlite3'
import { onTestFinished, vi } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import type { GroupCommitOptions } from '../../src/store/sqlite/group-commit.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import type { Store } from '../../src/store/store.js'
import { freshFolder } from '../support/folder.js'
import { aJob, RULES } from './suite/stage.js'

export const openFresh = (options: GroupCommitOptions = {}) => openAt(join(freshFolder(), 'jobs.db'), options)

export function openAt(
  file: string,
  options: GroupCommitOptions = {},
): { store: Store; file: string; db: BetterSqlite3.Database } {
  const pragma = vi.spyOn(Database.prototype, 'pragma')
  const store = openSqliteStore(file, RULES, options)
  // The connection that writes is the last one that was set up.
  const db = pragma.mock.contexts.at(-1) as BetterSqlite3.Database
  pragma.mockRestore()
  onTestFinished(store.close)
  return { store, file, db }
}

export const someJobs = (n: number) => Array.from({ length: n }, () => aJob())
