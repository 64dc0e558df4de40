// Job ids: UUIDv7 (RFC 9562), each greater than the one before, within a millisecond and with a clock set back.
import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

const RANDOM_BYTES = 16
/** Random bytes are drawn for so many ids at once: one draw for each would cost 10 µs. */
const POOLED_IDS = 256

/** A clock may be set back by as much between two jobs, and what is looked for by time is still found by id. */
export const CLOCK_SLACK_MS = 86_400_000

/** The lowest text that no id made at `ms` (milliseconds since 1970) or later is below. */
export function lowestIdAt(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}

/** `now` is milliseconds since 1970. */
export function createIds(now: () => number): () => string {
  const pool = Buffer.alloc(RANDOM_BYTES * POOLED_IDS)
  let used = pool.length
  let msecs = 0
  let seq = 0

  function random(): Uint8Array {
    if (used === pool.length) {
      randomFillSync(pool)
      used = 0
    }
    used += RANDOM_BYTES
    return pool.subarray(used - RANDOM_BYTES, used)
  }

  return () => {
    const time = now()
    seq = time > msecs ? 0 : seq + 1
    msecs = Math.max(time, msecs)
    return v7({ msecs, seq, random: random() })
  }
}
