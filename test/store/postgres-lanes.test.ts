// Two transactions at once: many claims and ends of runs go beside each other, all else waits its turn.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { JobWithPayload } from '../../src/job.js'
import { openPostgresStore, type PostgresOptions } from '../../src/store/postgres/postgres.js'
import type { Ending, Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres, WITHOUT_GIVING_WAY } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, complete, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const MANY = 120

describe.skipIf(postgresMissing !== null)(`two transactions at once (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let open: Store[] = []
  let schema = ''

  async function openStore(options: Partial<PostgresOptions> = {}): Promise<Store> {
    schema = `lanes_${randomUUID()}`
    const all = { source: server.url(), schema, node: 'node-1', lease: 3_600_000, ...options }
    const store = await openPostgresStore(all, RULES)
    open.push(store)
    return store
  }
  afterEach(async () => {
    await Promise.all(open.map((store) => store.close()))
    open = []
  })

  const claim = async (store: Store, first: number, n: number) => {
    const slots = Array.from({ length: n }, (_, i) => first + i)
    return (await store.claim({ node: 'node-1', shares: [{ ...wholly('a'), limit: n }], slots, now: T0 })).claimed
  }
  /** Sessions of this database that are in a transaction, and those of them that wait for a lock. */
  async function transactions(): Promise<{ open: number; waiting: number }> {
    const [found] = await server.ask<{ open: string; waiting: string }>(
      `SELECT count(*) AS open, count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
         AND xact_start IS NOT NULL`,
    )
    return { open: Number(found?.open), waiting: Number(found?.waiting) }
  }
  const sessions = async () =>
    Number(
      (
        await server.ask<{ n: string }>(
          `SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'jobmill node-1'`,
        )
      )[0]?.n,
    )

  /** Its second connection is made when there is enough to do for it. */
  async function warmedUp(options?: Partial<PostgresOptions>): Promise<Store> {
    const store = await openStore(options)
    await until('it has both connections', async () => {
      for (const jobs of await twoLists(store)) await settle(store, jobs)
      const [one, other] = await twoLists(store)
      await Promise.all([settle(store, one), settle(store, other)])
      return (await sessions()) === 2
    })
    return store
  }

  /** Two lists of jobs that run, each long enough for a transaction of its own. */
  async function twoLists(store: Store, aNew = () => aJob()): Promise<[JobWithPayload[], JobWithPayload[]]> {
    await store.submit(Array.from({ length: 2 * MANY }, aNew), NO_BOUNDS)
    const [one, other] = await Promise.all([claim(store, 1, MANY), claim(store, 1 + MANY, MANY)])
    expect(new Set([...one, ...other].map(({ id }) => id)).size).toBe(2 * MANY)
    return [one, other]
  }
  const endings = (jobs: readonly JobWithPayload[]): Ending[] =>
    jobs.map(({ id, run }) => ({ id, run, step: complete, now: T0 + 10 }))
  const settle = (store: Store, jobs: readonly JobWithPayload[]) =>
    store.settle(endings(jobs)).then(({ ended }) => ended.filter((job) => job?.status === 'completed').length)

  /** Somebody else, in a transaction. */
  async function somebody(settings = '') {
    const client = new pg.Client({ connectionString: server.url() })
    await client.connect()
    onTestFinished(() => client.end())
    await client.query(`${settings} BEGIN`)
    const lock = (id?: string) => client.query(`SELECT 1 FROM "${schema}".jobs WHERE id = $1 FOR UPDATE`, [id])
    return { client, lock }
  }

  /** Somebody else holds the row of the job until the answer is called. */
  async function held({ id }: JobWithPayload): Promise<() => Promise<void>> {
    const { client, lock } = await somebody()
    await lock(id)
    return async () => {
      await client.query('ROLLBACK')
    }
  }

  test('many ends of runs do not wait for those whose rows somebody holds', async () => {
    const store = await warmedUp()
    const before = (await store.counts()).a?.now.completed ?? 0
    const [one, other] = await twoLists(store)
    const letGo = await held(one[0] as JobWithPayload)
    const waiting = settle(store, one)
    expect(await settle(store, other)).toBe(MANY)
    expect((await store.counts()).a?.now).toEqual({ processing: MANY, completed: before + MANY })
    await letGo()
    expect(await waiting).toBe(MANY)
    expect((await store.counts()).a?.now).toEqual({ completed: before + 2 * MANY })
  })

  test('what is neither a claim nor an end has the store for itself: those after it wait for it', async () => {
    // It does not give way to them.
    const store = await warmedUp({ timeouts: WITHOUT_GIVING_WAY })
    const [one, other] = await twoLists(store)
    const letGo = await held(one[0] as JobWithPayload)
    const order: string[] = []
    const told = <T>(what: string, asked: Promise<T>) => asked.finally(() => order.push(what))
    const reports = one.map(({ id, run }) => ({ id, run, progress: 50, note: null, at: T0 + 5 }))
    const progress = told('progress', store.renew(reports))
    await until('it waits for the row', async () => (await transactions()).waiting === 1)
    const ends = told('ends', settle(store, other))
    // Who holds the row, and who waits for it.
    for (let looks = 0; looks < 10; looks += 1) expect(await transactions()).toEqual({ open: 2, waiting: 1 })
    expect(order).toEqual([])
    await letGo()
    expect(await progress).toEqual({ lost: [], cancel_requested: [] })
    expect(await ends).toBe(MANY)
    expect(order).toEqual(['progress', 'ends'])
  })

  test('what a second transaction cannot do at once is done in the first one', async () => {
    const store = await warmedUp()
    const [one, other] = await twoLists(store)
    // The first one waits for the first row, the second one for the other: longer than it may.
    const letGo = await Promise.all([one, other].map(([job]) => held(job as JobWithPayload)))
    const ends = [settle(store, one), settle(store, other)]
    await until('both wait', async () => (await transactions()).waiting === 2)
    await until('the second one has given up', async () => (await transactions()).waiting === 1)
    await Promise.all(letGo.map((one) => one()))
    expect(await Promise.all(ends)).toEqual([MANY, MANY])
    expect((await store.counts()).a?.now.processing).toBeUndefined()
  })

  const cutWaiting = () =>
    server.ask(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock' AND backend_type = 'client backend'`,
    )

  test('a second transaction whose connection is cut before its COMMIT is sent is made again', async () => {
    const store = await warmedUp()
    const before = (await store.counts()).a?.ever.completed ?? 0
    // Ends of jobs with keys are settled step by step.
    const [one, other] = await twoLists(store, () => aJob({ concurrency_key: randomUUID() }))
    const letGo = await held(other[0] as JobWithPayload)
    const ends = [settle(store, one), settle(store, other)]
    expect(await ends[0]).toBe(MANY)
    await until('it waits for the row', async () => (await transactions()).waiting === 1)
    await cutWaiting()
    await letGo()
    expect(await ends[1]).toBe(MANY)
    expect((await store.counts()).a?.ever.completed).toBe(before + 2 * MANY)
    expect(store.failure()).toBeNull()
  })

  test('of a second transaction that is cut behind its COMMIT nobody knows; told again, nothing happens twice', async () => {
    const store = await warmedUp()
    const before = (await store.counts()).a?.ever.completed ?? 0
    const [one, other] = await twoLists(store)
    const letGo = await held(other[0] as JobWithPayload)
    const ends = [settle(store, one), settle(store, other).catch((error) => error)]
    expect(await ends[0]).toBe(MANY)
    await until('it waits for the row', async () => (await transactions()).waiting === 1)
    await cutWaiting()
    await letGo()
    expect(await ends[1]).toMatchObject({ code: 'outcome_unknown' })
    expect(await settle(store, other)).toBe(MANY)
    expect((await store.counts()).a?.ever.completed).toBe(before + 2 * MANY)
    expect(store.failure()).toBeNull()
  })

  test('a transaction that waits in a circle with somebody else is told, and done again', async () => {
    const store = await warmedUp()
    const [one, other] = await twoLists(store)
    const [first, last] = [one[0], one.at(-1)].map((job) => job?.id)
    // The store's session looks for the circle, and is the one that is told.
    const { client, lock } = await somebody(`SET deadlock_timeout = '1h';`)
    await lock(last)
    const ends = [settle(store, one), settle(store, other)]
    await until('it waits for the last row', async () => (await transactions()).waiting === 1)
    await lock(first)
    await client.query('ROLLBACK')
    expect(await Promise.all(ends)).toEqual([MANY, MANY])
    expect((await store.counts()).a?.now.processing).toBeUndefined()
  })

  test('close() waits for both', async () => {
    const store = await warmedUp()
    const [one, other] = await twoLists(store)
    const letGo = await held(one[0] as JobWithPayload)
    const order: string[] = []
    const told = <T>(what: string, asked: Promise<T>) => asked.finally(() => order.push(what))
    const ends = [told('ends', settle(store, one)), told('ends', settle(store, other))]
    await until('one waits for the row', async () => (await transactions()).waiting === 1)
    const closed = told('closed', store.close())
    await letGo()
    expect(await Promise.all(ends)).toEqual([MANY, MANY])
    await closed
    expect(order).toEqual(['ends', 'ends', 'closed'])
  })

  test('where the server has no connection left for a second transaction, all goes through the first', async () => {
    const role = `few_${randomUUID().replaceAll('-', '')}`
    // For writes and reads; nothing beats here.
    await server.ask(`CREATE ROLE ${role} LOGIN CONNECTION LIMIT 2`)
    onTestFinished(async () => {
      await server.ask(`DROP OWNED BY ${role} CASCADE`)
      await server.ask(`DROP ROLE ${role}`)
    })
    await server.ask(`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO ${role}', current_database()); END $$`)
    const source = new URL(server.url())
    source.username = role
    const store = await openStore({ source: source.href })
    await store.get('none')
    for (let rounds = 0; rounds < 3; rounds += 1) {
      const [one, other] = await twoLists(store)
      expect(await Promise.all([settle(store, one), settle(store, other)])).toEqual([MANY, MANY])
      expect(store.failure()).toBeNull()
    }
    expect(await sessions()).toBe(2)
    await store.close()
  })
})
