// Rows and tables that somebody else locks and does not let go of: who needs them waits, all others do not.
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Job } from '../../src/job.js'
import { openPostgresStore, type PostgresOptions } from '../../src/store/postgres/postgres.js'
import { postgresMissing, usePostgres, WITHOUT_GIVING_WAY } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, complete, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const IMPATIENT = { connect: 3_000, statement: 1_000, answer: 5_000, lock: 100 }

describe.skipIf(postgresMissing !== null)(`what somebody has locked (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  async function openStore(options: Partial<PostgresOptions> = {}) {
    const schema = `held_${randomUUID()}`
    const store = await openPostgresStore(
      { source: server.url(), schema, node: 'node-1', lease: 3_600_000, ...options },
      RULES,
    )
    onTestFinished(() => store.close())
    /** Jobs that run, in the slots from 1 on. */
    const running = async (n: number) => {
      await store.submit(
        Array.from({ length: n }, () => aJob()),
        NO_BOUNDS,
      )
      const slots = Array.from({ length: n }, (_, i) => i + 1)
      return (await store.claim({ node: 'node-1', shares: [wholly('a')], slots, now: T0 })).claimed
    }
    const settle = async ({ id, run }: Job) => (await store.settle([{ id, run, step: complete, now: T0 + 1 }])).ended[0]
    return { schema, store, running, settle }
  }

  const lockRow = (schema: string, { id }: Job) =>
    server.somebody(`SELECT 1 FROM "${schema}".jobs WHERE id = $1 FOR UPDATE`, [id])
  const waiting = () =>
    until('the store waits for a lock', async () => {
      const rows = await server.ask(
        `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
      )
      return rows.length > 0
    })

  test('a row holds up its own job, and nobody else', async () => {
    const { schema, store, running, settle } = await openStore()
    const [one, two, three] = (await running(3)) as Job[] as [Job, Job, Job]
    const letGo = await lockRow(schema, one)
    let cancelled = false
    // Asked in one turn, they begin as one transaction.
    const cancel = store.cancel(one.id, 'not wanted', T0).finally(() => {
      cancelled = true
    })
    expect(await Promise.all([settle(two), store.cancel(three.id, 'not wanted', T0)])).toMatchObject([
      { status: 'completed' },
      { answer: 'requested' },
    ])
    for (let i = 0; i < 3; i += 1) {
      const job = aJob()
      await store.submit([job], NO_BOUNDS)
      const { claimed } = await store.claim({ node: 'node-1', shares: [wholly('a')], slots: [2], now: T0 })
      expect(claimed).toMatchObject([{ id: job.id }])
      expect(await settle(claimed[0] as Job)).toMatchObject({ status: 'completed' })
    }
    expect(cancelled).toBe(false)
    await letGo()
    expect(await cancel).toMatchObject({ answer: 'requested', job: { cancel_requested_at: T0 } })
  })

  test('where the store does not give way, a row holds up all', async () => {
    const { schema, store, running } = await openStore({ timeouts: WITHOUT_GIVING_WAY })
    const [one] = (await running(1)) as Job[] as [Job]
    const letGo = await lockRow(schema, one)
    const cancel = store.cancel(one.id, 'not wanted', T0)
    await waiting()
    const job = aJob()
    const submitted = store.submit([job], NO_BOUNDS)
    // Longer than the store waits for a lock otherwise.
    await until('it has waited', async () => {
      const rows = await server.ask(
        `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
           AND state_change < clock_timestamp() - interval '1 s'`,
      )
      return rows.length > 0
    })
    expect(await store.get(job.id)).toBeNull()
    await letGo()
    await Promise.all([cancel, submitted])
    expect(await store.get(job.id)).toMatchObject({ status: 'pending' })
  })

  test('for too long, what needs it is refused, nothing of it has happened, and it can be asked again', async () => {
    const { schema, store, running, settle } = await openStore({ timeouts: IMPATIENT })
    const jobs = await running(5)
    const [one, ...others] = jobs as Job[] as [Job, ...Job[]]
    const letGo = await server.somebody(`SELECT 1 FROM "${schema}".jobs WHERE id = ANY($1) FOR UPDATE`, [
      jobs.map(({ id }) => id),
    ])
    const refusal = { code: 'store_busy', message: expect.stringContaining('did not get to it in time') }
    // Begun in one turn with them, these need nothing that is locked.
    const added = Promise.all(Array.from({ length: 20 }, () => store.submit([aJob()], NO_BOUNDS)))
    const asked = await Promise.allSettled([settle(one), ...others.map(({ id }) => store.cancel(id, 'not wanted', T0))])
    expect(asked).toEqual(asked.map(() => ({ status: 'rejected', reason: expect.objectContaining(refusal) })))
    expect(await added).toHaveLength(20)
    expect(store.failure()).toBeNull()
    await letGo()
    expect(await settle(one)).toMatchObject({ status: 'completed' })
    expect(await store.cancel(String(others[0]?.id), 'not wanted', T0)).toMatchObject({ answer: 'requested' })
    expect((await store.counts()).a?.now).toEqual({ completed: 1, processing: 4, pending: 20 })
  })

  test('those about one job keep their order, whoever comes while it is locked', async () => {
    const { schema, store, running, settle } = await openStore()
    const [job, other] = (await running(2)) as Job[] as [Job, Job]
    const { id, run } = job
    const letGo = await lockRow(schema, job)
    const all: Promise<unknown>[] = []
    for (let n = 1; n <= 5; n += 1) {
      all.push(store.append([{ id, run, lines: [{ at: T0, message: `line ${n}` }] }]))
      all.push(store.checkpoint({ id, run }, String(n)))
      all.push(store.renew([{ id, run, progress: n, note: null, at: T0 + n }]))
      // In between others are written, again and again.
      if (n === 3) expect(await settle(other)).toMatchObject({ status: 'completed' })
      await store.submit([aJob()], NO_BOUNDS)
    }
    const end = settle(job)
    await letGo()
    await Promise.all(all)
    expect(await end).toMatchObject({ status: 'completed' })
    expect((await store.logs(id, { run: 0, line: 0 }, 10)).map(({ message }) => message)).toEqual(
      [1, 2, 3, 4, 5].map((n) => `line ${n}`),
    )
    // Taken in their order, all of them came before the end.
    expect(await Promise.all(all)).toEqual(
      [1, 2, 3, 4, 5].flatMap(() => [undefined, true, { lost: [], cancel_requested: [] }]),
    )
  })

  test('a table holds up all, those that wait for too long are refused, and the rest goes on when it is let go', async () => {
    const { schema, store } = await openStore({ timeouts: IMPATIENT })
    const letGo = await server.somebody(`LOCK TABLE "${schema}".jobs IN EXCLUSIVE MODE`)
    await expect(store.submit([aJob()], NO_BOUNDS)).rejects.toMatchObject({ code: 'store_busy' })
    const jobs = Array.from({ length: 20 }, () => aJob())
    const submitted = Promise.all(jobs.map((job) => store.submit([job], NO_BOUNDS)))
    await waiting()
    await letGo()
    await submitted
    expect((await store.counts()).a?.now).toEqual({ pending: 20 })
  })
})
