// Locks on names, until the transaction ends: for what no row stands for yet.
import type { Queries } from './connection.js'

/** In one order, so that no two nodes wait for each other. Names that hash alike share a lock, which does no harm. */
export async function lockNames(db: Queries, names: readonly string[]): Promise<void> {
  const sorted = [...new Set(names)].sort()
  if (sorted.length === 0) return
  await db.all(
    `SELECT pg_advisory_xact_lock(h) FROM (SELECT DISTINCT hashtextextended(name, 7) AS h
    FROM unnest($1::text[]) AS name ORDER BY h) AS hashes`,
    [sorted],
  )
}
