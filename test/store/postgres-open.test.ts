// What happens when a store is opened: tables are made once, what this jobmill does not know is refused, nothing stays open.
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
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
      SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'jobmill%'); END $$`
    await until('no connection is left', () =>
      server.ask(none).then(
        () => true,
        () => false,
      ),
    )
  })

  test('a schema of a newer jobmill is refused, with what to do', async () => {
    await (await open('newer', 'a')).close()
    await server.ask('INSERT INTO newer.migrations VALUES (9999, 9998)')
    const opening = open('newer', 'b')
    await expect(opening).rejects.toThrow(StoreOpenError)
    await expect(opening).rejects.toThrow(
      /of version 9999, which takes a jobmill that knows version 9998, .* use a newer/,
    )
  })

  test('a schema of a newer jobmill with which this one can work is served', async () => {
    await (await open('later', 'a')).close()
    await server.ask('ALTER TABLE later.jobs ADD COLUMN later text')
    await server.ask('INSERT INTO later.migrations VALUES (9999, 1)')
    const store = await open('later', 'b')
    await store.submit([aJob()], NO_BOUNDS)
    expect((await store.counts()).a?.now).toEqual({ pending: 1 })
    await store.close()
  })

  test('of a schema of version 4, what runs is counted as before', async () => {
    await server.ask('CREATE SCHEMA four')
    await server.ask('CREATE TABLE four.migrations (version integer PRIMARY KEY, oldest integer NOT NULL)')
    const folder = new URL('../../src/store/sql/postgres/', import.meta.url)
    for (const name of readdirSync(folder).filter((name) => /^000[1-4]_/.test(name))) {
      await server.ask(`SET search_path TO four; ${readFileSync(new URL(name, folder), 'utf8')}`)
      await server.ask(`INSERT INTO four.migrations VALUES (${Number(name.slice(0, 4))}, 3)`)
    }
    // Three jobs that wait and two that run, counted in two parts.
    await server.ask(`INSERT INTO four.jobs (id, type, rank, created_at, updated_at, timeout_ms, payload_bytes, bytes, priority,
        max_attempts, status, reason, reason_detail, payload)
      SELECT 'job-' || n, 'a', n, 0, 0, 1, 2, 2, 3, 1, CASE WHEN n > 3 THEN 'processing' ELSE 'pending' END, '', '', '{}'
      FROM generate_series(1, 5) AS n`)
    await server.ask(`INSERT INTO four.counts VALUES
      (1, 'pending', 'a', 5, 10, 0), (1, 'processing', 'a', 1, 2, 0), (2, 'processing', 'a', 1, 2, 0), (2, 'pending', 'a', -2, -4, 0)`)
    const store = await open('four', 'a')
    onTestFinished(() => store.close())
    expect(await store.counts()).toEqual({ a: { now: { pending: 3, processing: 2 }, bytes: 10, ever: {} } })
    // What a node does that was taken for dead, and still is of version 4.
    const beat = server.ask(`INSERT INTO four.nodes (id, lease, knows, about) VALUES ('old', '15 s', 4, '{}')`)
    await expect(beat).rejects.toThrow(/nodes_knows_check/)
    const claim = server.ask(`INSERT INTO four.counts VALUES (3, 'processing', 'a', 1, 2, 0)`)
    await expect(claim).rejects.toThrow(/counts_status_check/)
  })

  test('a role that owns the schema needs no right to make one', async () => {
    await server.ask('CREATE ROLE plain LOGIN')
    await server.ask('CREATE SCHEMA owned AUTHORIZATION plain')
    const source = server.url().replace('//postgres', '//plain')
    const store = await openPostgresStore({ source, schema: 'owned', node: 'a', lease: 60_000 }, RULES)
    await store.submit([aJob()], NO_BOUNDS)
    await store.close()
    const other = openPostgresStore({ source, schema: 'not_there', node: 'a', lease: 60_000 }, RULES)
    await expect(other).rejects.toThrow(/cannot be used: permission denied/)
  })

  test('a database that has no form for all texts is refused', async () => {
    const name = `latin_${randomUUID().replaceAll('-', '')}`
    await server.ask(`CREATE DATABASE ${name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
    onTestFinished(async () => void (await server.ask(`DROP DATABASE ${name} WITH (FORCE)`)))
    const source = new URL(server.url())
    source.pathname = `/${name}`
    const opening = openPostgresStore({ source: source.href, node: 'a', lease: 60_000 }, RULES)
    await expect(opening).rejects.toThrow('the database has the encoding LATIN1, jobmill needs UTF8')
  })

  test('a table that the role may not read any more is told as what the server refuses, until it may', async () => {
    const store = await open('taken_away', 'a')
    onTestFinished(() => store.close())
    const job = aJob()
    await store.submit([job], NO_BOUNDS)
    await server.ask('ALTER TABLE taken_away.jobs RENAME TO elsewhere')
    const refusal = { code: 'store_busy', message: expect.stringContaining('the database refuses it (42P01: relation') }
    await expect(store.list({}, 10, null)).rejects.toMatchObject(refusal)
    await expect(store.submit([aJob()], NO_BOUNDS)).rejects.toMatchObject(refusal)
    await server.ask('ALTER TABLE taken_away.elsewhere RENAME TO jobs')
    expect(await store.get(job.id)).toMatchObject({ status: 'pending' })
  })

  test('a server that is not there is told as such', async () => {
    const opening = openPostgresStore({ source: 'postgres://nobody@127.0.0.1:1/x', node: 'a', lease: 60_000 }, RULES)
    await expect(opening).rejects.toThrow(/ECONNREFUSED/)
  })
})
