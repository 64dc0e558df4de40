// Nodes: each says again and again that it is alive, for as long as a lease, by the clock of the database.
import type { RunKey } from '../../pool/protocol.js'
import type { Beat, NodeRecord, Orders, Wish } from '../cluster.js'
import type { Queries } from './connection.js'
import { VERSION } from './migrate.js'

const ALIVE = 'heartbeat_at + lease > clock_timestamp()'

/** Runs of nodes whose lease is over, or that have taken leave. */
export const DEAD_RUNS = `status = 'processing' AND node NOT IN (SELECT id FROM nodes WHERE ${ALIVE})`

export async function aliveNodes(db: Queries): Promise<Set<string>> {
  return new Set((await db.all<{ id: string }>(`SELECT id FROM nodes WHERE ${ALIVE}`)).map(({ id }) => id))
}

/**
 * Whether this node has beaten for a whole lease without a gap. Before that it takes none for dead: where the database
 * was away, those who come back first would take the runs of all others.
 */
export async function isSteady(db: Queries, node: string): Promise<boolean> {
  const text = `SELECT 1 FROM nodes WHERE id = $1 AND ${ALIVE} AND steady_since + lease <= clock_timestamp()`
  return (await db.all(text, [node])).length > 0
}

/** How long a node that is gone is remembered. */
const REMEMBERED = `interval '1 hour'`
const MS = (time: string) => `(extract(epoch FROM ${time}) * 1000)::bigint`

interface RunRow extends RunKey {
  lost: boolean
  cancel: boolean
}

export function createNodes(node: string, lease_ms: number) {
  /** Also once more where somebody has taken it for dead: its runs are lost, it goes on with others. */
  async function say(db: Queries, about: string): Promise<Orders> {
    const [orders] = await db.all<Orders>(
      `INSERT INTO nodes (id, lease, about, knows) VALUES ($1, $2::bigint * interval '1 millisecond', $3, $4)
       ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp(), lease = excluded.lease, about = excluded.about,
         steady_since = CASE WHEN nodes.heartbeat_at + nodes.lease > clock_timestamp() THEN nodes.steady_since ELSE clock_timestamp() END
       RETURNING orders AS number, max_workers, draining`,
      [node, lease_ms, about, VERSION],
    )
    await db.run(`DELETE FROM nodes WHERE heartbeat_at + lease + ${REMEMBERED} < clock_timestamp()`)
    return orders as Orders
  }

  const look = (db: Queries, runs: readonly RunKey[]) =>
    db.all<RunRow>(
      `SELECT r.id, r.run, jobs.id IS NULL AS lost, jobs.cancel_requested_at IS NOT NULL AS cancel
       FROM unnest($1::text[], $2::integer[]) AS r (id, run)
       LEFT JOIN jobs ON jobs.id = r.id AND jobs.run = r.run AND jobs.status = 'processing'`,
      [runs.map(({ id }) => id), runs.map(({ run }) => run)],
    )

  return {
    async beat(db: Queries, about: string, runs: readonly RunKey[]): Promise<Beat> {
      const orders = await say(db, about)
      const rows = runs.length === 0 ? [] : await look(db, runs)
      const alive = [...(await aliveNodes(db))]
      const [dead] = await db.all(`SELECT 1 FROM jobs WHERE ${DEAD_RUNS} LIMIT 1`)
      const keys = (those: RunRow[]) => those.map(({ id, run }) => ({ id, run }))
      return {
        orders,
        lost: keys(rows.filter(({ lost }) => lost)),
        cancel_requested: keys(rows.filter(({ cancel }) => cancel)),
        rescue: dead !== undefined,
        alive,
      }
    },

    /** It has ended: what it still runs may be rescued at once. */
    leave: (db: Queries) => db.run('DELETE FROM nodes WHERE id = $1', [node]),

    list: (db: Queries): Promise<NodeRecord[]> =>
      db.all(
        `SELECT id, ${MS('started_at')} AS started_at, ${MS('heartbeat_at')} AS heartbeat_at, ${ALIVE} AS alive, draining, about
         FROM nodes ORDER BY id`,
      ),

    async ask(db: Queries, whom: string | null, { max_workers, draining }: Wish): Promise<string[]> {
      const rows = await db.all<{ id: string }>(
        `UPDATE nodes SET orders = orders + 1, max_workers = coalesce($2, max_workers), draining = coalesce($3, draining)
         WHERE ${ALIVE} AND ($1::text IS NULL OR id = $1) RETURNING id`,
        [whom, max_workers ?? null, draining ?? null],
      )
      return rows.map(({ id }) => id)
    },
  }
}
