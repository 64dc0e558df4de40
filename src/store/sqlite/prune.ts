// Deletes final jobs that are too old or too many, oldest end first, a piece at a time.
import type Database from 'better-sqlite3'
import type { FinalStatus } from '../../job.js'
import { isAmong } from '../filters.js'
import type { Pruned, PruneRequest } from '../store.js'
import type { Rows } from './rows.js'

/** A piece ends after this, however many jobs it was asked for: large payloads take long to delete. */
const PIECE_MS = 8

interface Group {
  type: string
  status: FinalStatus
  n: number
  bytes: number
}

interface Candidate {
  id: string
  finished_at: number
  bytes: number
  run: number
  has_artifacts: number
}

/** Answers a function that deletes one piece; it runs inside a transaction that group commit began. */
export function createPruning(db: Database.Database, rows: Rows) {
  const groups = db.prepare<[], Group>(
    `SELECT type, status, n, bytes FROM counts WHERE n > 0 AND status IN ('completed', 'failed', 'cancelled')`,
  )
  const oldest = db.prepare<[string, FinalStatus, number], Candidate>(
    `SELECT id, finished_at, bytes, run, artifacts IS NOT NULL AS has_artifacts
     FROM jobs WHERE type = ? AND status = ? AND finished_at IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM dependencies WHERE on_id = jobs.id)
     ORDER BY finished_at, id LIMIT ?`,
  )

  return function prune({ status, types, finished_before, max_count, max_bytes, limit }: PruneRequest): Pruned {
    const chosen = groups.all().filter((group) => status.includes(group.status) && isAmong(group.type, types))
    let count = chosen.reduce((sum, { n }) => sum + n, 0)
    let size = chosen.reduce((sum, { bytes }) => sum + bytes, 0)
    const isSurplus = ({ finished_at }: Candidate) =>
      (finished_before !== null && finished_at < finished_before) ||
      (max_count !== null && count > max_count) ||
      (max_bytes !== null && size > max_bytes)

    const candidates = chosen
      .flatMap((group) => oldest.all(group.type, group.status, limit))
      .sort((a, b) => a.finished_at - b.finished_at || (a.id < b.id ? -1 : 1))
      .slice(0, limit)
    const pruned: Pruned = { ids: [], bytes: 0, artifacts: [], more: false }
    const ends_at = performance.now() + PIECE_MS
    for (const candidate of candidates) {
      if (!isSurplus(candidate)) return pruned
      rows.remove(candidate.id)
      pruned.ids.push(candidate.id)
      pruned.bytes += candidate.bytes
      if (candidate.has_artifacts === 1) pruned.artifacts.push({ id: candidate.id, run: candidate.run })
      count -= 1
      size -= candidate.bytes
      if (performance.now() > ends_at) break
    }
    return { ...pruned, more: pruned.ids.length > 0 }
  }
}
