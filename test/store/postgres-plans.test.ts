// Plans on PostgreSQL: what statistics say of a table that fills and empties all day must not turn them.
import { describe, expect, test } from 'vitest'
import type { Job } from '../../src/job.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { aJob, complete, NO_BOUNDS, RULES, T0, wholly } from './suite/stage.js'

const JOBS = 2_000
const SLOTS = 8
/** Rows that a claim and the ends of its jobs look at, each index on its own: far fewer than there are. */
const MOST_ROWS = 20 * SLOTS

describe.skipIf(postgresMissing !== null)(`plans on PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  const openStore = (node: string) =>
    openPostgresStore({ source: server.url(), schema: 'plans', node, lease: 3_600_000 }, RULES)

  const fill = (store: Awaited<ReturnType<typeof openStore>>) =>
    store.submit(
      Array.from({ length: JOBS }, () => aJob({ type: 'a' })),
      NO_BOUNDS,
    )

  async function run(store: Awaited<ReturnType<typeof openStore>>, node: string, n: number): Promise<void> {
    const slots = Array.from({ length: n }, (_, i) => i + 1)
    const { claimed } = await store.claim({ node, shares: [wholly('a')], slots, now: T0 })
    expect(claimed).toHaveLength(n)
    await store.settle(claimed.map(({ id, run }: Job) => ({ id, run, step: complete, now: T0 })))
  }

  /** The server learns of what its sessions did some time after it. */
  async function looked(updated: number): Promise<number> {
    const text = `SELECT n_tup_upd::integer AS updated, (idx_tup_fetch + seq_tup_read)::integer AS looked
      FROM pg_stat_user_tables WHERE schemaname = 'plans' AND relname = 'jobs'`
    const [row] = await until(`${updated} updates are told`, async () => {
      const rows = await server.ask<{ updated: number; looked: number }>(text)
      return rows[0]?.updated === updated ? rows : null
    })
    return row?.looked ?? 0
  }

  test('a claim reads the rows that it takes, also where none was pending when the server last looked', async () => {
    const first = await openStore('first')
    await fill(first)
    await run(first, 'first', JOBS)
    await server.ask('ANALYZE plans.jobs')
    await fill(first)
    await first.close()
    const before = await looked(2 * JOBS)
    const second = await openStore('second')
    await run(second, 'second', SLOTS)
    await second.close()
    expect((await looked(2 * JOBS + 2 * SLOTS)) - before).toBeLessThan(MOST_ROWS)
  })
})
