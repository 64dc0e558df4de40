// What stands before a job that has not begun: who goes first, who holds its key, what it waits for.
import type Database from 'better-sqlite3'
import type { Job } from '../../job.js'
import type { Share } from '../../slot-shares.js'
import type { Standing } from '../store.js'
import type { Moves } from './moves.js'
import type { Rates } from './rates.js'
import type { Rows } from './rows.js'

/** Counted no further: exact to the last job would cost a scan of all that wait. */
const MOST_COUNTED = 1_000
const DEPENDENCIES_NAMED = 10

export function createStanding(db: Database.Database, rows: Rows, moves: Moves, rates: Rates) {
  const ahead = db.prepare<[string, number, string, number], { n: number }>(
    `SELECT count(*) AS n FROM (SELECT 1 FROM jobs WHERE type = ? AND status = 'pending' AND held = 0
       AND (rank, id) < (?, ?) LIMIT ?)`,
  )
  const aheadOfKey = db.prepare<[string, number, string, number], { n: number }>(
    `SELECT count(*) AS n FROM (SELECT 1 FROM jobs WHERE concurrency_key = ? AND status = 'pending' AND held = 1
       AND (rank, id) < (?, ?) LIMIT ?)`,
  )
  const firstOfKey = db.prepare<[string], { id: string }>(
    `SELECT id FROM jobs WHERE concurrency_key = ? AND status = 'pending' AND held = 0`,
  )

  function keyHolder({ id, status, concurrency_key: key }: Job): Standing['key_holder'] {
    if (key === null || status !== 'pending') return null
    const first = moves.turns.holderOf(key) ?? firstOfKey.all(key)[0]?.id ?? id
    const holder = first === id ? null : rows.get(first)
    return holder === null ? null : { id: holder.id, status: holder.status }
  }

  return (job: Job, shares: readonly Share[], now: number): Standing => {
    let before = 0
    for (const { type } of shares) {
      if (before < MOST_COUNTED) before += ahead.all(type, job.rank, job.id, MOST_COUNTED - before)[0]?.n ?? 0
    }
    // They are held until their turn, and so is this one behind them.
    if (job.concurrency_key !== null && before < MOST_COUNTED)
      before += aheadOfKey.all(job.concurrency_key, job.rank, job.id, MOST_COUNTED - before)[0]?.n ?? 0
    const batch = moves.batches.waitedFor(job.id)
    const rate = shares.find(({ type }) => type === job.type)?.rate
    const next = rate ? rates.room(job.type, rate, now) : null
    return {
      ahead: before,
      key_holder: keyHolder(job),
      open_dependencies: moves.dependencies.open(job.id, DEPENDENCIES_NAMED),
      batch: batch === null ? null : moves.batches.get(batch),
      rate_next_at: next === null || next.room > 0 ? null : next.next_at,
    }
  }
}
