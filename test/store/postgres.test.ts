// The suite on PostgreSQL, with three nodes on one database; each test has an empty schema.
import pg from 'pg'
import { afterAll, describe } from 'vitest'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { DIGESTS, type Harness, RULES, storeConformance } from './conformance.js'

/** No node of the suite is taken for dead before the suite says so. */
const LEASE_MS = 3_600_000
/** Schemas with their tables, empty, for the next test. */
const spare: string[] = []
let schemas = 0

/** Of all tables but the one that tells the version: quicker than to make them anew. */
const EMPTY = `DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '%' AND tablename <> 'migrations'
  LOOP EXECUTE format('DELETE FROM %I.%I', '%', name); END LOOP; END $$`

describe.skipIf(postgresMissing !== null)(`the store on PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let admin: Promise<pg.Client> | undefined

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.url() })
    await client.connect()
    return client
  }
  async function ask(text: string, values: unknown[] = []): Promise<void> {
    admin ??= connect()
    await (await admin).query(text, values)
  }
  afterAll(async () => (await admin)?.end())

  storeConformance('PostgreSQL', async (): Promise<Harness> => {
    schemas += 1
    const schema = spare.pop() ?? `jobmill_${process.pid}_${schemas}`
    const stores = new Map<string, Store>()

    async function open(node: string, lease = LEASE_MS): Promise<Store> {
      const options = { source: server.url(), schema, node, lease, digests: DIGESTS }
      const store = await openPostgresStore(options, RULES)
      stores.set(node, store)
      return store
    }

    const cut = (node: string) =>
      ask(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1',
        [`jobmill ${node}`],
      )

    /** All others have been there for long enough to say so. */
    async function expire(node: string): Promise<void> {
      await ask(`UPDATE "${schema}".nodes SET heartbeat_at = heartbeat_at - lease WHERE id = $1`, [node])
      await ask(`UPDATE "${schema}".nodes SET steady_since = steady_since - lease WHERE id <> $1`, [node])
    }

    return {
      nodes: 3,
      open,
      /** Its connections are cut, with all that it had not committed, and its lease is over. */
      async crash(node, next) {
        await cut(node)
        await stores.get(node)?.close()
        stores.delete(node)
        const store = await open(next)
        await expire(node)
        return store
      },
      expire,
      cut,
      async close() {
        await Promise.all([...stores.values()].map((store) => store.close()))
        await ask(EMPTY.replaceAll("'%'", `'${schema}'`))
        spare.push(schema)
      },
    }
  })
})
