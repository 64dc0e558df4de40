// The suite on PostgreSQL, with three nodes on one database; each test has a schema of its own.
import pg from 'pg'
import { describe } from 'vitest'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { DIGESTS, type Harness, RULES, storeConformance } from './conformance.js'

/** No node of the suite is taken for dead before the suite says so. */
const LEASE_MS = 3_600_000
let schemas = 0

describe.skipIf(postgresMissing !== null)(`the store on PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  storeConformance('PostgreSQL', async (): Promise<Harness> => {
    schemas += 1
    const schema = `jobmill_${process.pid}_${schemas}`
    const stores = new Map<string, Store>()

    async function open(node: string): Promise<Store> {
      const store = await openPostgresStore(
        { source: server.url(), schema, node, lease: LEASE_MS, digests: DIGESTS },
        RULES,
      )
      stores.set(node, store)
      return store
    }

    async function ask(text: string, values: unknown[] = []): Promise<void> {
      const client = new pg.Client({ connectionString: server.url() })
      await client.connect()
      await client.query(text, values)
      await client.end()
    }

    return {
      nodes: 3,
      open,
      /** It beats no more, and its lease is over; what it had not committed is lost with its connections. */
      async crash(node, next) {
        await stores.get(node)?.close()
        stores.delete(node)
        return open(next)
      },
      async close() {
        await Promise.all([...stores.values()].map((store) => store.close()))
        await ask(`DROP SCHEMA "${schema}" CASCADE`)
      },
    }
  })
})
