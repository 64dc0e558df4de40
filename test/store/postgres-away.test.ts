// The server goes away, comes back, does not answer, or the line is cut in the middle of a commit: what callers are told.
import { connect, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, complete, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const TIMEOUTS = { connect: 400, statement: 600, answer: 800 }
let schemas = 0

describe.skipIf(postgresMissing !== null)(`PostgreSQL that is away (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let open: Store[] = []

  async function openStore(source: string, node = 'node-1'): Promise<Store> {
    const options = { source, schema: `away_${schemas}`, node, lease: 3_600_000, timeouts: TIMEOUTS }
    const store = await openPostgresStore(options, RULES)
    open.push(store)
    return store
  }
  afterEach(async () => {
    await Promise.all(open.map((store) => store.close()))
    open = []
    schemas += 1
  })
  const claim = async (store: Store) =>
    (await store.claim({ node: 'node-1', shares: [wholly('a')], slots: [1], now: T0 })).claimed

  /** The milliseconds until it is refused with `code`. */
  async function refused(asking: Promise<unknown>, code: string): Promise<number> {
    const begun = performance.now()
    await expect(asking).rejects.toMatchObject({ code })
    return performance.now() - begun
  }

  test.skipIf(!server.ours)(
    'while the server is stopped all is refused at once; the same store works on when it is back',
    async () => {
      const store = await openStore(server.url())
      const before = aJob()
      await store.submit([before], NO_BOUNDS)
      const [running] = await claim(store)
      expect(store.failure()).toBeNull()
      await server.stop()
      for (let n = 0; n < 3; n += 1) {
        expect(await refused(store.submit([aJob()], NO_BOUNDS), 'store_busy')).toBeLessThan(2_000)
        expect(await refused(store.get(before.id), 'store_busy')).toBeLessThan(2_000)
      }
      expect(store.failure()).toMatch(/refused|terminat|shut|not reached/i)
      await server.start()
      const after = aJob()
      // Writes that come all the time do not keep it from trying again.
      const again = await until('it is connected again', () => store.submit([after], NO_BOUNDS).catch(() => null))
      expect(again).toMatchObject([{ job: { id: after.id }, deduplicated: false }])
      expect(store.failure()).toBeNull()
      const outcome = { id: before.id, run: running?.run ?? 0, step: complete, now: T0 + 10 }
      expect((await store.settle([outcome])).ended).toMatchObject([{ status: 'completed' }])
      const { jobs } = await until('reads are back', () => store.list({}, 10, null).catch(() => null))
      expect(jobs.map(({ id, status }) => [id, status])).toEqual([
        [after.id, 'pending'],
        [before.id, 'completed'],
      ])
      expect((await store.counts()).a?.now).toMatchObject({ pending: 1, completed: 1 })
    },
  )

  test('a write whose connections the server has ended is made on new ones', async () => {
    const store = await openStore(server.url())
    const other = await openStore(server.url())
    await store.submit([aJob()], NO_BOUNDS)
    await server.ask(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE pid <> pg_backend_pid() AND datname = current_database()`,
    )
    for (const one of [store, other])
      await until('it writes again', () => one.submit([aJob()], NO_BOUNDS).catch(() => null), 1_000)
    expect((await store.counts()).a?.now).toMatchObject({ pending: 3 })
  })

  test('a server that takes no writes is away for them, as after a failover, until it takes them again', async () => {
    const store = await openStore(server.url())
    const job = aJob()
    await store.submit([job], NO_BOUNDS)
    await readOnly('on')
    onTestFinished(() => readOnly('off'))
    // Not all at once: a session that is cut is noticed with the next question.
    await until('a read is answered', () => store.get(job.id).catch(() => null))
    for (let n = 0; n < 3; n += 1) await refused(store.submit([aJob()], NO_BOUNDS), 'store_busy')
    expect(store.failure()).toMatch(/read-only/)
    expect(await store.get(job.id)).toMatchObject({ status: 'pending' })
    await readOnly('off')
    await until('it writes again', () => store.submit([aJob()], NO_BOUNDS).catch(() => null))
    expect(store.failure()).toBeNull()
    expect((await store.counts()).a?.now).toEqual({ pending: 2 })
  })

  /** Of all sessions from now on; those that there are end. */
  async function readOnly(setting: 'on' | 'off'): Promise<void> {
    const client = new pg.Client({ connectionString: server.url() })
    await client.connect()
    await client.query('SET default_transaction_read_only = off')
    const { rows } = await client.query('SELECT quote_ident(current_database()) AS name')
    await client.query(`ALTER DATABASE ${rows[0].name} SET default_transaction_read_only = ${setting}`)
    await client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE pid <> pg_backend_pid() AND datname = current_database()`,
    )
    await client.end()
  }

  test.each([
    ['is lost on the way to the server', 'before'],
    ['is lost on the way back', 'after'],
  ] as const)('a COMMIT that %s is of unknown outcome, and the same write again does no harm', async (_, cut) => {
    const proxy = await openProxy(server.url())
    const store = await openStore(proxy.url)
    const key = { kind: 'idempotency' as const, owner: 'o', key: 'k', fingerprint: 'f', expires_at: T0 + 1_000 }
    const job = { ...aJob(), keys: [key] }
    proxy.cutCommit(cut)
    await refused(store.submit([job], NO_BOUNDS), 'outcome_unknown')
    const kept = await until('it is connected again', () =>
      store.submit([{ ...aJob(), keys: [key] }], NO_BOUNDS).catch(() => null),
    )
    expect(kept[0]?.deduplicated).toBe(cut === 'after')

    const [running] = await claim(store)
    const outcome = { id: running?.id ?? '', run: 1, step: complete, now: T0 + 10 }
    proxy.cutCommit(cut)
    await refused(store.settle([outcome]), 'outcome_unknown')
    const { ended } = await until('it is connected again', () => store.settle([outcome]).catch(() => null))
    expect(ended).toMatchObject([cut === 'after' ? null : { status: 'completed' }])
    const { jobs } = await store.list({}, 10, null)
    expect(jobs.map(({ status, run }) => [status, run])).toEqual([['completed', 1]])
    expect((await store.counts()).a).toMatchObject({ now: { completed: 1 }, ever: { completed: 1 } })
  })

  test('what a claim took whose COMMIT was lost on the way back is claimed again', async () => {
    const proxy = await openProxy(server.url())
    const store = await openStore(proxy.url)
    await store.submit([aJob()], NO_BOUNDS)
    proxy.cutCommit('after')
    await refused(claim(store), 'outcome_unknown')
    const [job] = await until('it is connected again', () => claim(store).catch(() => null))
    expect(job).toMatchObject({ status: 'processing', attempt: 1, run: 2, interruptions: 0 })
    expect(await claim(store)).toEqual([])
    expect((await store.counts()).a?.now).toEqual({ processing: 1 })
  })

  test('a node that could not beat for most of its lease takes none for dead', async () => {
    const [store, other] = [await openStore(server.url()), await openStore(server.url(), 'node-2')]
    await store.submit([aJob()], NO_BOUNDS)
    await other.claim({ node: 'node-2', shares: [wholly('a')], slots: [1], now: T0 })
    const nodes = `away_${schemas}.nodes`
    await server.ask(`UPDATE ${nodes} SET heartbeat_at = heartbeat_at - lease WHERE id = 'node-2'`)
    const beaten = (ago: number) =>
      server.ask(
        `UPDATE ${nodes} SET steady_since = clock_timestamp() - 2 * lease, heartbeat_at = clock_timestamp() - $1 * lease
         WHERE id = 'node-1'`,
        [ago],
      )
    await beaten(0.6)
    expect((await store.tick({ node: 'node-1', now: T0 })).rescued).toEqual([])
    await beaten(0)
    expect((await store.tick({ node: 'node-1', now: T0 })).rescued).toMatchObject([{ status: 'pending' }])
  })

  test('a line on which nothing comes any more is noticed; the same store works on when it is whole', async () => {
    const proxy = await openProxy(server.url())
    const store = await openStore(proxy.url)
    const job = aJob()
    await store.submit([job], NO_BOUNDS)
    await store.get(job.id)
    proxy.swallow(true)
    const noticed = await Promise.all([
      refused(store.submit([aJob()], NO_BOUNDS), 'store_busy'),
      refused(store.get(job.id), 'store_busy'),
    ])
    expect(Math.max(...noticed)).toBeLessThan(3_000)
    expect(store.failure()).not.toBeNull()
    proxy.swallow(false)
    await until('it is connected again', () => store.submit([aJob()], NO_BOUNDS).catch(() => null))
    await until('reads are back', () => store.get(job.id).catch(() => null))
    expect(store.failure()).toBeNull()
    expect((await store.counts()).a?.now).toMatchObject({ pending: 2 })
  })
})

/** Stands between the store and the server, and cuts or swallows what goes through. */
async function openProxy(target: string) {
  const { hostname, port, pathname, username, password } = new URL(target)
  const sockets = new Set<Socket>()
  let cut: 'before' | 'after' | null = null
  let swallows = false

  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', end)
      socket.on('close', end)
    }
    client.on('data', (data) => {
      if (cut === 'before' && data.includes('COMMIT')) {
        cut = null
        return end()
      }
      if (!swallows) upstream.write(data)
    })
    upstream.on('data', (data) => {
      // The server says so when it has committed.
      if (cut === 'after' && data.includes('COMMIT')) {
        cut = null
        return end()
      }
      if (!swallows) client.write(data)
    })
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  const address = proxy.address()
  const own = typeof address === 'object' ? address?.port : 0
  const login = password === '' ? username : `${username}:${password}`
  return {
    url: `postgres://${login}@127.0.0.1:${own}${pathname}`,
    /** The next COMMIT is cut before the server gets it, or after it has answered. */
    cutCommit(when: 'before' | 'after') {
      cut = when
    },
    /** Nothing comes through, and nobody is told. */
    swallow(on: boolean) {
      swallows = on
    },
  }
}
