// A real PostgreSQL for a test file: one of its own, or the one of JOBMILL_TEST_POSTGRES.
import pg from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { missingPostgres, type Postgres, startPostgres } from '../../src/torture/postgres.js'

const given = process.env.JOBMILL_TEST_POSTGRES

/** Why there is no server, for a skip that says so; or null. */
export const postgresMissing = given === undefined ? missingPostgres() : null

/** Started before the tests of the suite and ended after them; to be called while the suite is described. */
export function usePostgres() {
  let own: Postgres | undefined
  const url = () => given ?? own?.url ?? ''

  beforeAll(async () => {
    if (given === undefined) own = await startPostgres({ fsync: 'off' })
  })
  afterAll(() => own?.remove())

  return {
    url,
    /** Whether the tests may stop it. */
    ours: given === undefined,
    /** Connections are cut. */
    stop: async () => own?.stop('SIGINT'),
    start: async () => own?.start(),
    /** On a connection of its own; answers the rows. */
    async ask<R = unknown>(text: string, values: unknown[] = []): Promise<R[]> {
      const client = new pg.Client({ connectionString: url() })
      await client.connect()
      try {
        return (await client.query(text, values)).rows
      } finally {
        await client.end()
      }
    },
  }
}
