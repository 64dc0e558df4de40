// Rates: how many jobs of a type may be started now, so that no span of time sees more of them than its rate allows.
import type Database from 'better-sqlite3'
import type { Rate } from '../../slot-shares.js'

/** Everything here but `room` runs inside a transaction that group commit began. */
export function createRates(db: Database.Database) {
  const forget = db.prepare('DELETE FROM starts WHERE type = ? AND at <= ?')
  // Of a clock that was set back since: they count as of now, not for as long as it was ahead.
  const pullBack = db.prepare('UPDATE starts SET at = ? WHERE type = ? AND at > ?')
  const window = db.prepare<[string, number], { n: number; oldest: number | null }>(
    'SELECT count(*) AS n, min(at) AS oldest FROM starts WHERE type = ? AND at > ?',
  )
  const insert = db.prepare('INSERT INTO starts VALUES (?, ?)')

  return {
    tidy(type: string, { per_ms }: Rate, now: number): void {
      forget.run(type, now - per_ms)
      pullBack.run(now, type, now)
    },
    /** How many more may be started, and when the next may be where it is none now. */
    room(type: string, { limit, per_ms }: Rate, now: number): { room: number; next_at: number } {
      const { n, oldest } = window.all(type, now - per_ms)[0] ?? { n: 0, oldest: null }
      return { room: Math.max(0, limit - n), next_at: (oldest ?? now) + per_ms }
    },
    started: (type: string, at: number): void => void insert.run(type, at),
  }
}

export type Rates = ReturnType<typeof createRates>
