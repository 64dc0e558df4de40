// Ends of runs and a claim in one piece, with their COMMIT: what is not as it nearly always is, is done step by step.
import { randomUUID } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { JobWithPayload } from '../../src/job.js'
import type { Submission } from '../../src/new-job.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { RULES } from './conformance.js'
import { aJob, complete, DIGESTS, expectCountsToFit, ids, NO_BOUNDS, T0, wholly } from './suite/stage.js'

describe.skipIf(postgresMissing !== null)(`a turn in one piece (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let open: Store[] = []

  async function openStore({ source = server.url(), schema = `turns_${randomUUID()}`, node = 'node-1' } = {}) {
    const store = await openPostgresStore({ source, schema, node, lease: 3_600_000, digests: DIGESTS }, RULES)
    open.push(store)
    return store
  }
  afterEach(async () => {
    await Promise.all(open.map((store) => store.close()))
    open = []
  })

  async function add(store: Store, ...jobs: Partial<Submission>[]): Promise<JobWithPayload[]> {
    const all = jobs.map((job) => aJob(job))
    await store.submit(all, NO_BOUNDS)
    return all
  }
  const claim = async (store: Store, n = 2) =>
    (
      await store.claim({
        node: 'node-1',
        shares: [wholly('a')],
        slots: Array.from({ length: n }, (_, i) => i + 1),
        now: T0,
      })
    ).claimed
  const end = (store: Store, ...jobs: JobWithPayload[]) =>
    store.settle(jobs.map(({ id, run }) => ({ id, run, step: complete, now: T0 + 10 })))

  /** Between the store and the server: what the store sends, piece by piece. */
  async function listen() {
    const { hostname, port, pathname, username, password } = new URL(server.url())
    const pieces: string[] = []
    const sockets: Socket[] = []
    const proxy = createServer((client) => {
      const upstream = connect(Number(port), hostname)
      for (const socket of [client, upstream]) sockets.push(socket.on('error', () => {}))
      client.on('data', (data) => void pieces.push(data.toString('latin1')))
      client.pipe(upstream).pipe(client)
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
    })
    const own = Object(proxy.address()).port
    const login = password === '' ? username : `${username}:${password}`
    return {
      url: `postgres://${login}@127.0.0.1:${own}${pathname}`,
      /** Of transactions, since it was asked last. */
      pieces: () => pieces.splice(0).filter((piece) => /BEGIN|COMMIT|ROLLBACK/.test(piece)),
    }
  }

  /** The second claim and the ends of a turn before which all was as it nearly always is. */
  async function turn(store: Store, first: JobWithPayload[]) {
    const [ended, claimed] = await Promise.all([end(store, ...first), claim(store)])
    return { ended: ended.ended, claimed }
  }

  test('goes out as one piece, and its counts fit', async () => {
    const line = await listen()
    const store = await openStore({ source: line.url })
    const jobs = await add(store, ...Array.from({ length: 6 }, () => ({})))
    await claim(store)
    const [one, other] = [await claim(store), jobs.slice(4)]
    line.pieces()
    const { ended, claimed } = await turn(store, one)
    const [piece, ...more] = line.pieces()
    expect(piece).toMatch(/BEGIN.*COMMIT/s)
    expect(more).toEqual([])
    expect(ended.map((job) => job?.status)).toEqual(['completed', 'completed'])
    expect(ids(claimed)).toEqual(ids(other))
    await expectCountsToFit(store)
  })

  test.each<[string, Partial<Submission>]>([
    ['with a concurrency key', { concurrency_key: 'k' }],
    ['of a batch', { batch_id: 'b' }],
  ])(
    'where the next job is one %s, it is claimed in steps of its own, and the ends are written once',
    async (_, odd) => {
      const line = await listen()
      const store = await openStore({ source: line.url })
      const batch = 'batch_id' in odd ? { id: 'b', created_at: T0, open_by: null, on_complete: null } : undefined
      const [first] = await add(store, {})
      const [job] = [aJob(odd)]
      await store.submit([job], NO_BOUNDS, batch)
      const running = await claim(store, 1)
      expect(ids(running)).toEqual([first?.id])
      line.pieces()
      const { ended, claimed } = await turn(store, running)
      expect(ended).toMatchObject([{ status: 'completed' }])
      expect(ids(claimed)).toEqual([job.id])
      expect(line.pieces().length).toBeGreaterThan(1)
      await expectCountsToFit(store)
      await end(store, ...claimed)
      await expectCountsToFit(store)
      if (batch !== undefined) expect((await store.batch('b'))?.jobs).toMatchObject({ completed: 1 })
    },
  )

  test('what waits for a job that ends goes on with its end', async () => {
    const store = await openStore()
    const [first] = await add(store, {})
    const [next] = await add(store, { depends_on: [first?.id as string] })
    const running = await claim(store)
    expect(ids(running)).toEqual([first?.id])
    const { unblocked } = await end(store, ...running)
    expect(unblocked).toMatchObject([{ id: next?.id, status: 'pending' }])
    await expectCountsToFit(store)
  })

  test('a job that another node was asked to cancel ends as it is told, its neighbours beside it', async () => {
    const schema = `turns_${randomUUID()}`
    const store = await openStore({ schema })
    const other = await openStore({ schema, node: 'node-2' })
    await add(store, {}, {})
    const running = await claim(store)
    await other.cancel(running[0]?.id as string, 'no more', T0 + 5)
    const { ended } = await end(store, ...running)
    expect(ended.map((job) => [job?.status, job?.cancel_requested_at])).toEqual([
      ['cancelled', T0 + 5],
      ['completed', null],
    ])
    await expectCountsToFit(store)
  })

  test('a run that is told to have ended twice in one moment ends once', async () => {
    const store = await openStore()
    await add(store, {})
    const [job] = await claim(store)
    const answers = await Promise.all([end(store, job as JobWithPayload), end(store, job as JobWithPayload)])
    expect(answers.map(({ ended }) => ended[0]?.status ?? null)).toEqual(['completed', null])
    expect(await end(store, job as JobWithPayload)).toMatchObject({ ended: [null] })
    expect((await store.counts()).a?.ever).toEqual({ completed: 1 })
  })
})
