// A real PostgreSQL for a test file: one of its own, or the one of JOBMILL_TEST_POSTGRES.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { missingPostgres, type Postgres, startPostgres } from '../../src/torture/postgres.js'

/** Of a store that waits for what somebody has locked, and does nothing else meanwhile. */
export const WITHOUT_GIVING_WAY = { connect: 3_000, statement: 60_000, answer: 60_000 }

const given = process.env.JOBMILL_TEST_POSTGRES

/** Why there is no server, for a skip that says so; or null. */
export const postgresMissing = given === undefined ? missingPostgres() : null

/** Started before the tests of the suite and ended after them; to be called while the suite is described. */
export function usePostgres() {
  let own: Postgres | undefined
  // Files run side by side: on a server that was given, each has a database of its own.
  const database = `jobmill_test_${randomUUID().replaceAll('-', '')}`
  const url = () => (given === undefined ? (own?.url ?? '') : inDatabase(given, database))

  beforeAll(async () => {
    // Tests open and close stores by the hundred: on a busy machine the server's sessions end later than we are told.
    if (given === undefined) own = await startPostgres({ fsync: 'off', max_connections: '300' })
    else await ask(given, `CREATE DATABASE ${database}`)
  })
  afterAll(async () => {
    if (given !== undefined) await ask(given, `DROP DATABASE ${database} WITH (FORCE)`)
    await own?.remove()
  })

  return {
    url,
    /** Whether the tests may stop it. */
    ours: given === undefined,
    /** Connections are cut. */
    stop: async () => own?.stop('SIGINT'),
    start: async () => own?.start(),
    /** Somebody else runs `text` in a transaction that goes on until the answer is called. To be called inside a test. */
    async somebody(text: string, values: unknown[] = []): Promise<() => Promise<void>> {
      const client = new pg.Client({ connectionString: url() })
      await client.connect()
      onTestFinished(() => client.end())
      await client.query('BEGIN')
      await client.query(text, values)
      return async () => void (await client.query('ROLLBACK'))
    },
    /** On a connection of its own; answers the rows. */
    ask: <R = unknown>(text: string, values: unknown[] = []): Promise<R[]> => ask(url(), text, values),
  }
}

function inDatabase(source: string, database: string): string {
  const url = new URL(source)
  url.pathname = `/${database}`
  return url.href
}

async function ask<R>(connectionString: string, text: string, values: unknown[] = []): Promise<R[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
