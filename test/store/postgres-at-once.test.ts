// Ends of runs and a claim in one piece, with their COMMIT: what is not as it nearly always is, is done step by step.
import { randomUUID } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import type { JobWithPayload } from '../../src/job.js'
import type { Submission } from '../../src/new-job.js'
import { openConnection } from '../../src/store/postgres/connection.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
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
    let losing = false
    const sockets: Socket[] = []
    const proxy = createServer((client) => {
      const upstream = connect(Number(port), hostname)
      for (const socket of [client, upstream]) sockets.push(socket.on('error', () => {}))
      client.on('data', (data) => void pieces.push(data.toString('latin1')))
      client.pipe(upstream)
      upstream.on('data', (data) => {
        // The server says so when it has committed.
        if (!losing || !data.includes('COMMIT')) return void client.write(data)
        losing = false
        client.destroy()
        upstream.destroy()
      })
      upstream.on('close', () => client.destroy())
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
      /** The answer to the next COMMIT does not come. */
      lose: () => {
        losing = true
      },
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
    await add(store, ...Array.from({ length: 20 }, () => ({})))
    let running = await claim(store)
    await until('a turn needs one piece', async () => {
      // Once a second a claim has something else to do.
      line.pieces()
      const { ended, claimed } = await turn(store, running)
      expect(ended.map((job) => job?.status)).toEqual(['completed', 'completed'])
      expect(claimed).toHaveLength(2)
      running = claimed
      await expectCountsToFit(store)
      const [piece = '', ...more] = line.pieces()
      return more.length === 0 && /BEGIN.*COMMIT/s.test(piece)
    })
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
      if (batch !== undefined)
        expect((await store.batch('b'))?.jobs).toMatchObject({ completed: 1, processing: 0, pending: 0 })
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

  test('where a job has fallen due before it, the ends are written once, and what is due is claimed', async () => {
    const store = await openStore()
    await add(store, {})
    const running = await claim(store)
    // It was to run at T0, and is the only one to claim.
    const late = aJob({ run_at: T0 }, T0 - 1_000)
    await store.submit([late], NO_BOUNDS)
    const { ended, claimed } = await turn(store, running)
    expect(ended).toMatchObject([{ status: 'completed' }])
    expect(claimed).toMatchObject([{ id: late.id, status: 'processing', run: 1 }])
    await expectCountsToFit(store)
  })

  test('a job that another node was asked to cancel ends as it is told, its neighbours and a claim beside it', async () => {
    const schema = `turns_${randomUUID()}`
    const store = await openStore({ schema })
    const other = await openStore({ schema, node: 'node-2' })
    const jobs = await add(store, {}, {}, {})
    const running = await claim(store)
    await other.cancel(running[0]?.id as string, 'no more', T0 + 5)
    const { ended, claimed } = await turn(store, running)
    expect(ended.map((job) => [job?.status, job?.cancel_requested_at])).toEqual([
      ['cancelled', T0 + 5],
      ['completed', null],
    ])
    expect(claimed).toMatchObject([{ id: jobs[2]?.id, run: 1 }])
    await expectCountsToFit(store)
  })

  test('where its answer is lost, the ends are written once, and what it claimed is claimed again', async () => {
    const line = await listen()
    const store = await openStore({ source: line.url })
    const [, next] = await add(store, {}, {})
    const running = await claim(store, 1)
    line.lose()
    const outcomes = await Promise.allSettled([end(store, ...running), claim(store)])
    expect(outcomes).toMatchObject([{ reason: { code: 'outcome_unknown' } }, { reason: { code: 'outcome_unknown' } }])
    const { ended } = await until('it is connected again', () => end(store, ...running).catch(() => null))
    expect(ended).toEqual([null])
    expect(await claim(store)).toMatchObject([{ id: next?.id, run: 2, attempt: 1 }])
    expect((await store.counts()).a).toMatchObject({ ever: { completed: 1 } })
    await expectCountsToFit(store)
  })

  test('a value that cannot be sent is refused where it is sent, not left out of what is committed', async () => {
    const db = openConnection({ source: server.url(), schema: 'public', node: 'node-1' })
    onTestFinished(() => db.close())
    await db.begin()
    const unreadable = {
      toString() {
        throw new RangeError('too long')
      },
    }
    expect(() => db.send('SELECT $1::text[]', [[unreadable]])).toThrow('too long')
    await expect(db.run('SELECT $1::text[]', [[unreadable]])).rejects.toThrow('too long')
    await db.rollback()
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
