// Two transactions at once: many claims and ends of runs go beside each other, all else waits its turn.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { JobWithPayload } from '../../src/job.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Ending, Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { RULES } from './conformance.js'
import { aJob, complete, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const MANY = 120

describe.skipIf(postgresMissing !== null)(`two transactions at once (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let open: Store[] = []
  let schema = ''

  async function openStore(source = server.url()): Promise<Store> {
    schema = `lanes_${randomUUID()}`
    const store = await openPostgresStore({ source, schema, node: 'node-1', lease: 3_600_000 }, RULES)
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
  /** Two lists of jobs that run, each long enough for a transaction of its own. */
  async function twoLists(store: Store): Promise<[JobWithPayload[], JobWithPayload[]]> {
    await store.submit(
      Array.from({ length: 2 * MANY }, () => aJob()),
      NO_BOUNDS,
    )
    const [one, other] = await Promise.all([claim(store, 1, MANY), claim(store, 1 + MANY, MANY)])
    expect(new Set([...one, ...other].map(({ id }) => id)).size).toBe(2 * MANY)
    return [one, other]
  }
  const endings = (jobs: readonly JobWithPayload[]): Ending[] =>
    jobs.map(({ id, run }) => ({ id, run, step: complete, now: T0 + 10 }))
  const settle = (store: Store, jobs: readonly JobWithPayload[]) =>
    store.settle(endings(jobs)).then(({ ended }) => ended.filter((job) => job?.status === 'completed').length)

  /** Somebody else holds the row of the job until the answer is called. */
  async function held({ id }: JobWithPayload): Promise<() => Promise<void>> {
    const client = new pg.Client({ connectionString: server.url() })
    await client.connect()
    onTestFinished(() => client.end())
    await client.query('BEGIN')
    await client.query(`SELECT 1 FROM "${schema}".jobs WHERE id = $1 FOR UPDATE`, [id])
    return async () => {
      await client.query('ROLLBACK')
    }
  }

  test('many ends of runs do not wait for those whose rows somebody holds', async () => {
    const store = await openStore()
    const [one, other] = await twoLists(store)
    const letGo = await held(one[0] as JobWithPayload)
    const waiting = settle(store, one)
    expect(await settle(store, other)).toBe(MANY)
    expect((await store.counts()).a?.now).toEqual({ processing: MANY, completed: MANY })
    await letGo()
    expect(await waiting).toBe(MANY)
    expect((await store.counts()).a?.now).toEqual({ completed: 2 * MANY })
  })

  test('what is neither a claim nor an end has the store for itself: those after it wait for it', async () => {
    const store = await openStore()
    const [one, other] = await twoLists(store)
    const letGo = await held(one[0] as JobWithPayload)
    const order: string[] = []
    const told = <T>(what: string, asked: Promise<T>) => asked.finally(() => order.push(what))
    const reports = one.map(({ id, run }) => ({ id, run, progress: 50, note: null, at: T0 + 5 }))
    const progress = told('progress', store.renew(reports))
    // The next turn of the event loop: its transaction is under way.
    await new Promise(setImmediate)
    const ends = told('ends', settle(store, other))
    for (let reads = 0; reads < 5; reads += 1) await store.get(one[0]?.id ?? '')
    expect(order).toEqual([])
    await letGo()
    expect(await progress).toEqual({ lost: [], cancel_requested: [] })
    expect(await ends).toBe(MANY)
    expect(order).toEqual(['progress', 'ends'])
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
    const store = await openStore(source.href)
    await store.get('none')
    const [one, other] = await twoLists(store)
    expect(await Promise.all([settle(store, one), settle(store, other)])).toEqual([MANY, MANY])
    expect(store.failure()).toBeNull()
    const [{ n } = { n: 0 }] = await server.ask<{ n: string }>(
      'SELECT count(*) AS n FROM pg_stat_activity WHERE usename = $1',
      [role],
    )
    expect(Number(n)).toBe(2)
    await store.close()
  })
})
