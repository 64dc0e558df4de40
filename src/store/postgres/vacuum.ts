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
/** A large table takes its time, and nothing waits for it. */
const TIMEOUTS = { connect: 3_000, statement: 600_000, answer: 601_000 }

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
  let running: Promise<void> | null = null
  let closed = false

  /** Answers how long it is not to look again, in milliseconds. */
  async function vacuum(): Promise<number> {
    const [table] = await reader.all<{ dead: number }>(`SELECT pg_stat_get_dead_tuples('jobs'::regclass) AS dead`)
    if (closed || Number(table?.dead) < DEAD) return LOOK_AGAIN_MS
    claimed = 0
    const begun = performance.now()
    db = openConnection({ ...options, timeouts: TIMEOUTS })
    // Where somebody else does it, or changes the table, there is no need to wait.
    await db.run('VACUUM (SKIP_LOCKED, TRUNCATE off) jobs').finally(db.close)
    return (performance.now() - begun) * (1 / SHARE - 1)
  }

  async function lookAndRest(): Promise<void> {
    const rest = await vacuum().catch(() => REST_MS)
    next_at = performance.now() + rest
    running = null
  }

  return {
    claimed(jobs) {
      claimed += jobs
      if (claimed >= LOOK_AFTER && running === null && performance.now() >= next_at) running = lookAndRest()
    },
    async close() {
      closed = true
      await db?.close()
      await running
    },
  }
}
