// Jobs by SQL, in transactions of an application: there after its commit and not before, and nobody waits for anybody.
import type pg from 'pg'
import { v7 } from 'uuid'
import { describe, expect, onTestFinished, test } from 'vitest'
import { lowestIdAt } from '../../src/ids.js'
import type { TypeDefaults } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { connect, openNode, overHttp, submit } from './by-sql.js'
import { complete, expectCountsToFit, NO_BOUNDS, wholly } from './suite/stage.js'

const TIMEOUTS = { connect: 2_000, statement: 1_500, answer: 2_500 }
let schemas = 0

describe.skipIf(postgresMissing !== null)(`jobs by SQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  async function client(): Promise<pg.Client> {
    const app = await connect(server.url())
    onTestFinished(() => app.end())
    return app
  }

  async function joinNode(schema: string, more: { types?: TypeDefaults[]; timeouts?: typeof TIMEOUTS } = {}) {
    const store = await openNode({ source: server.url(), schema, node: v7(), ...more })
    onTestFinished(store.close)
    return store
  }

  /** A node on an empty schema, and an application. */
  async function begin(more: Parameters<typeof joinNode>[1] = {}) {
    schemas += 1
    const schema = `by_sql_${process.pid}_${schemas}`
    const app = await client()
    onTestFinished(() => app.query(`DROP SCHEMA ${schema} CASCADE`).then(() => {}))
    const store = await joinNode(schema, more)
    const rows = async (text: string, values: unknown[] = []) =>
      (await app.query(text.replaceAll('%s', schema), values)).rows
    const shares = ['email', 'export'].map(wholly)
    return {
      schema,
      store,
      app,
      rows,
      submit: (...values: unknown[]) => submit(app, schema, ...values),
      claim: async (now = Date.now()) => (await store.claim({ node: 'n', shares, slots: [1, 2, 3], now })).claimed,
      uncounted: async () => (await rows('SELECT FROM %s.counts_added')).length,
      tick: () => store.tick({ node: 'n', now: Date.now() }),
    }
  }

  test('a rollback leaves nothing', async () => {
    const { app, rows, store, submit, uncounted } = await begin()
    await app.query('BEGIN')
    await submit('email', '{}', '{"tags": {"a": "b"}}')
    await app.query('ROLLBACK')
    expect(await rows('SELECT FROM %s.jobs UNION ALL SELECT FROM %s.tags')).toEqual([])
    expect([await uncounted(), await store.counts()]).toEqual([0, {}])
  })

  test('nobody sees the job before the commit; after it, it is listed, counted, claimed and run', async () => {
    const { app, claim, store, submit, tick } = await begin()
    await app.query('BEGIN')
    const id = await submit('email', '{"to":"a@example.com"}', '{"tags": {"a": "b"}}')
    expect([await store.get(id), await claim(), await store.counts()]).toEqual([null, [], {}])
    await app.query('COMMIT')
    expect(await store.counts()).toEqual({ email: { now: { pending: 1 }, bytes: 22, ever: {} } })
    expect((await store.list({ tag: 'a:b' }, 10, null)).jobs).toMatchObject([{ id, status: 'pending' }])
    expect((await store.list({}, 10, null)).jobs).toMatchObject([{ id }])
    const payload = '{"to":"a@example.com"}'
    expect(await claim()).toMatchObject([{ id, status: 'processing', attempt: 1, max_attempts: 4, payload }])
    await tick()
    await store.settle([{ id, run: 1, step: complete, now: Date.now() }])
    expect(await store.counts()).toMatchObject({ email: { now: { completed: 1 }, ever: { completed: 1 } } })
    await expectCountsToFit(store)
  })

  test('it is promoted when it is due', async () => {
    const { claim, submit } = await begin()
    const id = await submit('email', '{}', '{"delay": "1h"}')
    expect(await claim()).toEqual([])
    expect(await claim(Date.now() + 3_600_000)).toMatchObject([{ id, status: 'processing' }])
  })

  test('counts are the same before and after nodes have taken them over', async () => {
    const { schema, rows, store, submit, tick, uncounted } = await begin()
    const other = await joinNode(schema)
    for (const type of ['email', 'export', 'email']) await submit(type)
    await submit('email', '{}', '{"delay": 60}')
    const counts = {
      email: { now: { pending: 2, scheduled: 1 }, bytes: 6, ever: {} },
      export: { now: { pending: 1 }, bytes: 2, ever: {} },
    }
    expect([await uncounted(), await store.counts()]).toEqual([4, counts])
    // Each takes what the other one has not.
    await Promise.all([tick(), other.tick({ node: 'other', now: Date.now() })])
    expect([await uncounted(), await store.counts(), await other.counts()]).toEqual([0, counts, counts])
    expect(await rows('SELECT sum(n)::integer AS n FROM %s.counts')).toEqual([{ n: 4 }])
    await expectCountsToFit(store)
  })

  test('the bounds of submissions over HTTP know of it, though they do not hold it back', async () => {
    const { store, submit } = await begin()
    for (let n = 0; n < 3; n += 1) await submit('email')
    const submitting = store.submit([overHttp(v7(), { type: 'email' })], { ...NO_BOUNDS, max_pending: 3 })
    await expect(submitting).rejects.toThrow('3 jobs are pending and worker.queue_size is 3')
    await submit('email')
  })

  test('claims take counts over, too', async () => {
    const { claim, submit, uncounted } = await begin()
    await submit('email')
    await until('they are taken over', async () => {
      await claim()
      return (await uncounted()) === 0
    })
  })

  test('two transactions do not wait for each other, and no node waits for them', async () => {
    const { app, claim, schema, store, submit: submitFirst, tick } = await begin({ timeouts: TIMEOUTS })
    await store.submit([overHttp(v7(), { type: 'email' })], NO_BOUNDS)
    const second = await client()
    for (const one of [app, second]) await one.query(`BEGIN; SET LOCAL lock_timeout = '1500ms'`)
    const first = await submitFirst('email')
    const other = await submit(second, schema, 'email')
    await store.submit([overHttp(v7(), { type: 'email' })], NO_BOUNDS)
    expect(await claim()).toHaveLength(2)
    await tick()
    await second.query('COMMIT')
    expect(await claim()).toMatchObject([{ id: other }])
    await app.query('COMMIT')
    expect(await claim()).toMatchObject([{ id: first }])
    await expectCountsToFit(store)
  })

  test('a transaction that held a row of the counts would be seen to hold up the node', async () => {
    const { app, rows, store } = await begin({ timeouts: TIMEOUTS })
    await store.submit([overHttp(v7(), { type: 'email' })], NO_BOUNDS)
    await app.query('BEGIN')
    await rows('UPDATE %s.counts SET n = n')
    await expect(store.submit([overHttp(v7(), { type: 'email' })], NO_BOUNDS)).rejects.toMatchObject({
      code: 'store_busy',
    })
    await app.query('ROLLBACK')
  })

  test('ids sort by time as those of nodes do, and in a transaction by their order', async () => {
    const { app, rows, schema } = await begin()
    const { rows: made } = await app.query(`SELECT ${schema}.submit('email') AS id FROM generate_series(1, 200)`)
    const ids = made.map(({ id }) => String(id))
    expect(new Set(ids).size).toBe(200)
    expect(ids.toSorted()).toEqual(ids)
    for (const { id, created_at } of await rows('SELECT id, created_at FROM %s.jobs')) {
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(id >= lowestIdAt(Number(created_at)) && id < lowestIdAt(Number(created_at) + 1)).toBe(true)
    }
  })

  test('defaults are those of the node that started last; types that it does not have stay', async () => {
    const { schema, submit, rows } = await begin()
    await joinNode(schema, { types: [{ name: 'email', timeout_ms: 5_000, retry_count: 9, max_payload: 1_000 }] })
    const id = await submit('email', JSON.stringify('x'.repeat(900)))
    const [job] = await rows('SELECT max_attempts, timeout_ms FROM %s.jobs WHERE id = $1', [id])
    expect(job).toEqual({ max_attempts: 10, timeout_ms: '5000' })
    await submit('export')
  })

  test('where no node has told its types, it is refused so', async () => {
    const { submit } = await begin({ types: [] })
    const message = 'type: no job type is known yet, one node has to have started'
    await expect(submit('email')).rejects.toMatchObject({ code: 'JM001', message })
  })

  test('a role that may do nothing else submits, whatever its search_path and settings', async () => {
    const { app, rows, schema, submit } = await begin()
    const role = `shop_${process.pid}`
    onTestFinished(() => app.query(`RESET ROLE; DROP OWNED BY ${role}; DROP ROLE ${role}`).then(() => {}))
    await app.query(`CREATE ROLE ${role}; SET ROLE ${role}`)
    await expect(submit('email')).rejects.toThrow('permission denied for schema')
    await app.query(`RESET ROLE; GRANT USAGE ON SCHEMA ${schema} TO ${role}; SET ROLE ${role}`)
    await expect(submit('email')).rejects.toThrow('permission denied for function submit')
    await app.query(`RESET ROLE; GRANT EXECUTE ON FUNCTION ${schema}.submit TO ${role}; SET ROLE ${role}`)
    // Tables of its own do not stand in for those of jobmill.
    for (const table of ['types', 'jobs', 'tags', 'counts_added'])
      await app.query(`CREATE TEMP TABLE ${table} (odd text)`)
    await app.query(`SET search_path TO pg_temp; SET standard_conforming_strings TO off; SET DateStyle TO 'German'`)
    await app.query(`SET TimeZone TO 'Asia/Tokyo'`)
    const id = await submit('email', '{"a": "b \\\\ c"}', '{"run_at": "2099-01-02T03:04:05Z", "tags": {"a": "b"}}')
    for (const table of ['jobs', 'types', 'counts_added', 'keys'])
      await expect(app.query(`SELECT FROM ${schema}.${table}`)).rejects.toThrow('permission denied')
    await expect(app.query(`SELECT ${schema}.submit_id(1)`)).rejects.toThrow('permission denied for function')
    await app.query('RESET ALL; RESET ROLE')
    expect(await rows('SELECT id, payload, reason_detail FROM %s.jobs')).toEqual([
      { id, payload: '{"a":"b \\\\ c"}', reason_detail: 'accepted, due at 2099-01-02T03:04:05.000Z' },
    ])
    expect(await rows('SELECT * FROM %s.tags')).toEqual([{ id, tag: 'a:b' }])
  })
})
