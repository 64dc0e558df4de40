// Vacuums the table of jobs where autovacuum would come too late: until then claims walk over all that was claimed before.
import { type Connection, type ConnectionOptions, openConnection, type Queries } from './connection.js'

/** Claims of this node after which it looks. */
const LOOK_AFTER = 25_000
/** Rows that are dead then, at the least: another node, or autovacuum, may have been here. */
const DEAD = 25_000
/** The server counts them about as often. */
const LOOK_AGAIN_MS = 1_000
/** Of the time, so much at the most. */
const SHARE = 0.1
/** After a failure. */
const REST_MS = 60_000
/** A table that takes longer is left to autovacuum, which gives way to who changes the table. */
const TIMEOUTS = { connect: 3_000, statement: 60_000, answer: 61_000 }

export interface Vacuum {
  /** So many jobs were claimed. */
  claimed(jobs: number): void
  /** What is under way is left to the server. */
  close(): Promise<void>
}

export function createVacuum(options: ConnectionOptions, reader: Queries): Vacuum {
  let claimed = 0
  let next_at = 0
  let db: Connection | null = null
  let running = false
  let closed = false

  async function look(): Promise<void> {
    const [table] = await reader.all<{ dead: number }>(`SELECT pg_stat_get_dead_tuples('jobs'::regclass) AS dead`)
    if (closed || Number(table?.dead) < DEAD) return
    claimed = 0
    db = openConnection({ ...options, timeouts: TIMEOUTS })
    // Where somebody else does it, or changes the table, there is no need to wait.
    await db.run('VACUUM (SKIP_LOCKED, TRUNCATE off) jobs').finally(db.close)
  }

  async function lookAndRest(): Promise<void> {
    running = true
    const begun = performance.now()
    const rest = await look().then(
      () => LOOK_AGAIN_MS,
      () => REST_MS,
    )
    const now = performance.now()
    next_at = now + Math.max(rest, (now - begun) * (1 / SHARE - 1))
    running = false
  }

  return {
    claimed(jobs) {
      claimed += jobs
      if (claimed >= LOOK_AFTER && !running && performance.now() >= next_at) void lookAndRest()
    },
    async close() {
      closed = true
      await db?.close()
    },
  }
}
