// What stands before a job that has not begun: who goes first, who holds its key, what it waits for.
import type { Job } from '../../job.js'
import type { Share } from '../../slot-shares.js'
import type { Standing } from '../store.js'
import { createBatches } from './batches.js'
import type { Queries } from './connection.js'
import { createDependencies } from './dependencies.js'
import { createRates } from './rates.js'
import { createTurns } from './turns.js'

/** Counted no further: exact to the last job would cost a scan of all that wait. */
const MOST_COUNTED = 1_000
const DEPENDENCIES_NAMED = 10

export function createStanding(db: Queries) {
  const [batches, dependencies, rates, turns] = [
    createBatches(db),
    createDependencies(db),
    createRates(db),
    createTurns(db),
  ]

  async function before(condition: string, value: string, { rank, id }: Job, most: number): Promise<number> {
    const text = `SELECT count(*) AS n FROM (SELECT 1 FROM jobs WHERE ${condition} AND status = 'pending'
      AND (rank, id) < ($2::bigint, $3) LIMIT $4) AS ahead`
    return (await db.all<{ n: number }>(text, [value, rank, id, most]))[0]?.n ?? 0
  }

  async function keyHolder({ id, status, concurrency_key: key }: Job): Promise<Standing['key_holder']> {
    if (key === null || status !== 'pending') return null
    const front = `SELECT id FROM jobs WHERE concurrency_key = $1 AND status = 'pending' AND NOT held`
    const first = (await turns.holderOf(key)) ?? (await db.all<{ id: string }>(front, [key]))[0]?.id ?? id
    if (first === id) return null
    const text = 'SELECT id, status FROM jobs WHERE id = $1'
    return (await db.all<NonNullable<Standing['key_holder']>>(text, [first]))[0] ?? null
  }

  return async (job: Job, shares: readonly Share[], now: number): Promise<Standing> => {
    let ahead = 0
    for (const { type } of shares)
      if (ahead < MOST_COUNTED) ahead += await before('type = $1 AND NOT held', type, job, MOST_COUNTED - ahead)
    // They are held until their turn, and so is this one behind them.
    if (job.concurrency_key !== null && ahead < MOST_COUNTED)
      ahead += await before('concurrency_key = $1 AND held', job.concurrency_key, job, MOST_COUNTED - ahead)
    const batch = await batches.waitedFor(job.id)
    const rate = shares.find(({ type }) => type === job.type)?.rate
    const next = rate ? await rates.room(job.type, rate, now) : null
    return {
      ahead,
      key_holder: await keyHolder(job),
      open_dependencies: await dependencies.open(job.id, DEPENDENCIES_NAMED),
      batch: batch === null ? null : await batches.get(batch),
      rate_next_at: next === null || next.room > 0 ? null : next.next_at,
    }
  }
}
