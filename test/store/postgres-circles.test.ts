// Nodes that work on the jobs of one batch at the same moment: none waits for rows that another one has, which waits for its own.
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, complete, expectCountsToFit, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const JOBS = 200
const ROUNDS = 5

describe.skipIf(postgresMissing !== null)(`nodes side by side (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  const deadlocks = async () =>
    Number(
      (
        await server.ask<{ n: string }>(
          'SELECT deadlocks AS n FROM pg_stat_database WHERE datname = current_database()',
        )
      )[0]?.n,
    )

  /** Runs what there is until nothing is left of it. */
  async function work(store: Store, node: string): Promise<void> {
    const slots = Array.from({ length: 20 }, (_, i) => i + 1)
    for (;;) {
      const { claimed } = await store.claim({ node, shares: [wholly('a')], slots, now: T0 })
      if (claimed.length === 0) return
      // Each by itself, in another order than that of their ids.
      const ends = claimed.toReversed().map(({ id, run }) => ({ id, run, step: complete, now: T0 + 10 }))
      await Promise.all(ends.map((end) => store.settle([end])))
    }
  }

  async function cancelAll(store: Store, batch: string): Promise<void> {
    for (let after: string | null = ''; after !== null; )
      after = (await store.cancelBatch(batch, after, 'no more', T0 + 5))?.next ?? null
  }

  test('a batch is cancelled on all of them while its jobs run', async () => {
    const options = { source: server.url(), schema: 'circles', lease: 3_600_000 }
    const nodes = ['node-1', 'node-2', 'node-3']
    const stores = await Promise.all(nodes.map((node) => openPostgresStore({ ...options, node }, RULES)))
    const [first] = stores as [Store, ...Store[]]
    for (let round = 0; round < ROUNDS; round += 1) {
      const id = randomUUID()
      const jobs = Array.from({ length: JOBS }, () => aJob({ batch_id: id }))
      await first.submit(jobs, NO_BOUNDS, { id, created_at: T0, open_by: null, on_complete: null })
      await Promise.all(
        stores.flatMap((store, i) => [
          work(store, String(nodes[i])),
          cancelAll(store, id),
          // One by one, as by a filter.
          ...jobs.slice(20 * i, 20 * i + 60).map((job) => store.cancel(job.id, 'nor this', T0 + 5)),
        ]),
      )
      const { completed = 0, cancelled = 0 } = (await first.batch(id))?.jobs ?? {}
      expect(completed + cancelled).toBe(JOBS)
      await expectCountsToFit(first)
    }
    await Promise.all(stores.map((store) => store.close()))
    // They are counted when a session ends, at the latest.
    await until('all sessions have ended', async () => {
      const text = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'jobmill%'`
      return (await server.ask(text)).length === 0
    })
    expect(await deadlocks()).toBe(0)
  })
})
