// A job that is deleted leaves no row behind, though no foreign key looks after that.
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Step } from '../../src/job.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres, WITHOUT_GIVING_WAY } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, anError, NO_BOUNDS, T0, wholly } from './suite/stage.js'

describe.skipIf(postgresMissing !== null)(`a deleted job (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  async function open() {
    const schema = `removal_${randomUUID()}`
    const stores: Store[] = []
    // Who came first to a lock gets it first.
    const options = { source: server.url(), schema, lease: 3_600_000, timeouts: WITHOUT_GIVING_WAY }
    for (const node of ['node-1', 'node-2']) stores.push(await openPostgresStore({ ...options, node }, RULES))
    onTestFinished(async () => void (await Promise.all(stores.map((store) => store.close()))))
    return { schema, one: stores[0] as Store, another: stores[1] as Store }
  }

  /** With all that a job can leave: tags, a key, a run that went on, log lines, a checkpoint. */
  async function failedJob(store: Store) {
    const job = aJob({ tags: { colour: 'blue', size: 'small' } })
    const key = { kind: 'unique' as const, owner: 'a', key: 'once', fingerprint: null, expires_at: T0 + 1 }
    await store.submit([{ ...job, keys: [key] }], NO_BOUNDS)
    const steps: Step[] = [
      { verb: 'release', detail: 'its node shuts down' },
      { verb: 'fail', error: anError() },
    ]
    for (const [i, step] of steps.entries()) {
      const now = T0 + i
      const { claimed } = await store.claim({ node: 'node-1', shares: [wholly('a')], slots: [1], now })
      const run = claimed[0]?.run as number
      await store.append([{ id: job.id, run, lines: [{ at: now, message: 'a line' }] }])
      await store.checkpoint({ id: job.id, run }, '1')
      await store.settle([{ id: job.id, run, step, now }])
    }
    expect(await store.get(job.id)).toMatchObject({ status: 'failed', run: 2 })
    return job.id
  }

  /** The tables with rows of the job. */
  async function tablesOf(schema: string, id: string): Promise<string[]> {
    const tables = await server.ask<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.columns WHERE table_schema = $1 AND column_name = 'id' ORDER BY 1`,
      [schema],
    )
    const found: string[] = []
    for (const { name } of tables) {
      const rows = await server.ask(`SELECT 1 FROM "${schema}".${name} WHERE id::text = $1`, [id])
      if (rows.length > 0) found.push(name)
    }
    return found
  }

  test.each(['deleted', 'pruned'])('that is %s leaves no row in any table', async (how) => {
    const { schema, one } = await open()
    const id = await failedJob(one)
    const all = ['attempts', 'checkpoints', 'jobs', 'keys', 'logs', 'tags']
    expect(await tablesOf(schema, id)).toEqual(all)
    if (how === 'deleted') await one.remove(id)
    else
      await one.prune({
        status: ['failed'],
        types: { except: [] },
        finished_before: T0 * 2,
        max_count: null,
        max_bytes: null,
        limit: 10,
      })
    expect(await tablesOf(schema, id)).toEqual([])
  })

  test.each(['before', 'after'])('has no lines of a handler that come %s it goes', async (order) => {
    const { schema, one, another } = await open()
    const id = await failedJob(one)
    const letGo = await server.somebody(`SELECT 1 FROM "${schema}".jobs WHERE id = $1 FOR UPDATE`, [id])
    const waiting = (n: number) =>
      until(`${n} wait`, async () => {
        const rows = await server.ask(
          `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%jobs%' AND datname = current_database()`,
        )
        return rows.length === n
      })
    const remove = () => one.remove(id)
    const append = () => another.append([{ id, run: 2, lines: [{ at: T0, message: 'a late line' }] }])
    const both = order === 'before' ? [append, remove] : [remove, append]
    const done: Promise<unknown>[] = []
    for (const [i, work] of both.entries()) {
      done.push(work())
      await waiting(i + 1)
    }
    await letGo()
    await Promise.all(done)
    expect(await tablesOf(schema, id)).toEqual([])
  })
})
