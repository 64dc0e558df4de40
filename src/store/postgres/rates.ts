// Rates: how many jobs of a type may be started now, over all nodes, so that no span of time sees more than its rate allows.
import type { Rate } from '../../slot-shares.js'
import type { Queries } from './connection.js'
import { lockNames } from './locks.js'

/** Everything here but `room` runs inside a transaction that group commit began. */
export function createRates(db: Queries) {
  return {
    /** Nobody else starts jobs of these types until this transaction has ended. */
    lock: (types: readonly string[]) =>
      lockNames(
        db,
        types.map((type) => `rate ${type}`),
      ),
    async tidy(type: string, { per_ms }: Rate, now: number): Promise<void> {
      await db.run('DELETE FROM starts WHERE type = $1 AND at <= $2', [type, now - per_ms])
      // Of a clock that was set back since: they count as of now, not for as long as it was ahead.
      await db.run('UPDATE starts SET at = $2 WHERE type = $1 AND at > $2', [type, now])
    },
    /** How many more may be started, and when the next may be where it is none now. */
    async room(type: string, { limit, per_ms }: Rate, now: number): Promise<{ room: number; next_at: number }> {
      const text = 'SELECT count(*) AS n, min(at) AS oldest FROM starts WHERE type = $1 AND at > $2'
      const [found] = await db.all<{ n: number; oldest: number | null }>(text, [type, now - per_ms])
      return { room: Math.max(0, limit - (found?.n ?? 0)), next_at: (found?.oldest ?? now) + per_ms }
    },
    started: (type: string, at: number, times: number) =>
      db.run('INSERT INTO starts SELECT $1, $2::bigint FROM generate_series(1, $3::integer)', [type, at, times]),
  }
}
