// Deletes final jobs that are too old or too many, oldest end first, a piece at a time.
import { isFinal, type Job } from '../../job.js'
import { isAmong } from '../filters.js'
import type { Pruned, PruneRequest } from '../store.js'
import type { Queries } from './connection.js'
import { readKept } from './ledger.js'
import type { Moves } from './moves.js'
import type { Rows } from './rows.js'

const OLDEST = `id IN (SELECT head.id FROM unnest($1::text[], $2::text[]) AS pair (type, status)
  CROSS JOIN LATERAL (SELECT id FROM jobs WHERE jobs.type = pair.type AND jobs.status = pair.status
    AND finished_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM dependencies WHERE on_id = jobs.id)
    ORDER BY finished_at, id LIMIT $3) AS head)`

/** Answers a function that deletes one piece; it runs inside a transaction that group commit began. */
export function createPruning(db: Queries, rows: Rows, moves: Moves) {
  return async ({ status, types, finished_before, max_count, max_bytes, limit }: PruneRequest): Promise<Pruned> => {
    const chosen = (await readKept(db)).filter(
      (group) => isFinal(group.status) && status.some((one) => one === group.status) && isAmong(group.type, types),
    )
    let count = chosen.reduce((sum, { n }) => sum + n, 0)
    let size = chosen.reduce((sum, { bytes }) => sum + bytes, 0)
    const isSurplus = (job: Job) =>
      (finished_before !== null && endOf(job) < finished_before) ||
      (max_count !== null && count > max_count) ||
      (max_bytes !== null && size > max_bytes)

    const found = await rows.take(OLDEST, [chosen.map(({ type }) => type), chosen.map((group) => group.status), limit])
    // Asked again under the lock: another node may have made one run again, or depend on one, since they were found.
    const needed = await moves.dependencies.needed(found.map(({ id }) => id))
    const heads = found.filter(({ id, status }) => isFinal(status) && !needed.has(id))
    heads.sort((a, b) => endOf(a) - endOf(b) || (a.id < b.id ? -1 : 1))
    const gone: Job[] = []
    for (const job of heads.slice(0, limit)) {
      if (!isSurplus(job)) break
      gone.push(job)
      count -= 1
      size -= job.bytes
    }
    await moves.remove(gone)
    return {
      ids: gone.map(({ id }) => id),
      bytes: gone.reduce((sum, { bytes }) => sum + bytes, 0),
      artifacts: gone.flatMap(({ id, run, artifacts }) => (artifacts === null ? [] : [{ id, run }])),
      more: gone.length > 0 && gone.length === Math.min(heads.length, limit),
    }
  }
}

const endOf = ({ finished_at }: Job) => finished_at ?? 0
