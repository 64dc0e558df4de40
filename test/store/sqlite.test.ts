// The suite on SQLite; what is SQLite's own is in sqlite-*.test.ts.
import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import type { Store } from '../../src/store/store.js'
import { freshFolder } from '../support/folder.js'
import { DIGESTS, type Harness, RULES, storeConformance } from './conformance.js'

async function createHarness(): Promise<Harness> {
  let file = join(freshFolder(), 'jobs.db')
  let store: Store

  function open(): Store {
    store = openSqliteStore(file, RULES, { digests: DIGESTS })
    return store
  }

  return {
    nodes: 1,
    open: async () => open(),
    /** What is on disk at this moment is what a killed process would leave: the next one gets a copy of it. */
    async crash() {
      const copy = join(freshFolder(), 'jobs.db')
      for (const part of ['', '-wal']) if (existsSync(file + part)) copyFileSync(file + part, copy + part)
      await store.close()
      file = copy
      return open()
    },
    close: () => store.close(),
  }
}

storeConformance('SQLite', createHarness, 'one process a file')
