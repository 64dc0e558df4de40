// What happens when a store is opened: tables are made once, what this jobmill does not know is refused, nothing stays open.
import { describe, expect, test } from 'vitest'
import { StoreOpenError } from '../../src/store/open-error.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, NO_BOUNDS } from './suite/stage.js'

describe.skipIf(postgresMissing !== null)(`opening PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  const open = (schema: string, node: string) =>
    openPostgresStore({ source: server.url(), schema, node, lease: 60_000 }, RULES)

  test('nodes that start at the same moment on an empty database share its tables', async () => {
    const stores = await Promise.all(['a', 'b', 'c', 'd'].map((node) => open('Shop "1"', node)))
    for (const store of stores) await store.submit([aJob()], NO_BOUNDS)
    expect((await stores[0]?.counts())?.a?.now).toEqual({ pending: 4 })
    await Promise.all(stores.map((store) => store.close()))
    const none = `DO $$ BEGIN ASSERT NOT EXISTS (
      SELECT FROM pg_stat_activity WHERE application_name LIKE 'jobmill%'); END $$`
    await until('no connection is left', () =>
      server.ask(none).then(
        () => true,
        () => false,
      ),
    )
  })

  test('a schema of a newer jobmill is refused, with what to do', async () => {
    await (await open('newer', 'a')).close()
    await server.ask('INSERT INTO newer.migrations VALUES (9999)')
    const opening = open('newer', 'b')
    await expect(opening).rejects.toThrow(StoreOpenError)
    await expect(opening).rejects.toThrow(/of version 9999, .* use a newer jobmill/)
  })

  test('a server that is not there is told as such', async () => {
    const opening = openPostgresStore({ source: 'postgres://nobody@127.0.0.1:1/x', node: 'a', lease: 60_000 }, RULES)
    await expect(opening).rejects.toThrow(/ECONNREFUSED/)
  })
})
