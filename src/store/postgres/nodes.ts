// Nodes: each says again and again that it is alive, for as long as a lease, by the clock of the database.
import type { Queries } from './connection.js'

const ALIVE = 'heartbeat_at + lease > clock_timestamp()'

/** Runs of nodes whose lease is over, or that have taken leave. */
export const DEAD_RUNS = `status = 'processing' AND node NOT IN (SELECT id FROM nodes WHERE ${ALIVE})`

export async function aliveNodes(db: Queries): Promise<Set<string | null>> {
  return new Set((await db.all<{ id: string }>(`SELECT id FROM nodes WHERE ${ALIVE}`)).map(({ id }) => id))
}

/** How long a node that is gone is remembered. */
const REMEMBERED = `interval '1 hour'`

export function createNodes(node: string, lease_ms: number) {
  return {
    /** Also once more where somebody has taken it for dead: its runs are lost, it goes on with others. */
    async beat(db: Queries): Promise<void> {
      await db.run(
        `INSERT INTO nodes (id, lease) VALUES ($1, $2::bigint * interval '1 millisecond')
         ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp(), lease = excluded.lease`,
        [node, lease_ms],
      )
      await db.run(`DELETE FROM nodes WHERE heartbeat_at + lease + ${REMEMBERED} < clock_timestamp()`)
    },
    /** It has ended: what it still runs may be rescued at once. */
    leave: (db: Queries) => db.run('DELETE FROM nodes WHERE id = $1', [node]),
  }
}
