// The table of jobs after many claims: it is vacuumed by who claims, and read by its indexes whatever the planner is told.
import { randomUUID } from 'node:crypto'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, complete, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const LIST = 1_000
/** More than a node claims before it looks. */
const MANY = 30_000

describe.skipIf(postgresMissing !== null)(`the table of jobs (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  const slots = Array.from({ length: LIST }, (_, i) => i + 1)
  async function openStore() {
    const schema = `vacuum_${randomUUID()}`
    const store = await openPostgresStore({ source: server.url(), schema, node: 'node-1', lease: 3_600_000 }, RULES)
    onTestFinished(() => store.close())
    async function run(jobs: number): Promise<void> {
      for (let done = 0; done < jobs; done += LIST) {
        await store.submit(
          Array.from({ length: LIST }, () => aJob()),
          NO_BOUNDS,
        )
        const { claimed } = await store.claim({ node: 'node-1', shares: [wholly('a')], slots, now: T0 })
        await store.settle(claimed.map(({ id, run }) => ({ id, run, step: complete, now: T0 + 10 })))
      }
    }
    return { schema, run }
  }

  test('is vacuumed after many claims, not after few', async () => {
    const { schema, run } = await openStore()
    // What vacuums here is the node, and nobody else.
    await server.ask(`ALTER TABLE "${schema}".jobs SET (autovacuum_enabled = off)`)
    const vacuums = async () => {
      const [table] = await server.ask<{ n: string }>(
        'SELECT vacuum_count AS n FROM pg_stat_all_tables WHERE relid = $1::regclass',
        [`"${schema}".jobs`],
      )
      return Number(table?.n)
    }
    await run(2 * LIST)
    expect(await vacuums()).toBe(0)
    await run(MANY)
    // The server may not have counted yet what is dead.
    await until('it is vacuumed', async () => (await vacuums()) >= 1 || run(LIST).then(() => false))
  })

  test.each(['empty', 'full'])('is never read whole, though the planner has seen it %s', async (state) => {
    const { schema, run } = await openStore()
    const reads = async () => {
      // Of sessions that go on, they are told once a second.
      const [table] = await server.ask<{ seq: string; idx: string }>(
        'SELECT seq_scan AS seq, idx_scan AS idx FROM pg_stat_all_tables WHERE relid = $1::regclass',
        [`"${schema}".jobs`],
      )
      return { whole: Number(table?.seq), byIndex: Number(table?.idx) }
    }
    await server.ask(`VACUUM ANALYZE "${schema}".jobs`)
    if (state === 'full') {
      await run(5 * LIST)
      await server.ask(`VACUUM ANALYZE "${schema}".jobs`)
    }
    // What made the tables is told by then, too.
    await until('reads are told', async () => run(LIST).then(async () => (await reads()).byIndex > 0))
    const before = await reads()
    await until('more reads are told', async () => {
      await run(LIST)
      return (await reads()).byIndex > before.byIndex
    })
    expect((await reads()).whole).toBe(before.whole)
  })
})
