// Chunks of runs that count no more: noted in the transaction that makes them so, removed by upkeep, a piece at a time.
import type { Job } from '../../job.js'
import type { RunKey } from '../../pool/protocol.js'
import type { Connection, Queries } from './connection.js'

/** Runs that one piece looks at, and chunks that it removes: 16 MiB take a tenth of a second. */
const RUNS_STEP = 100
const CHUNKS_STEP = 64

type Left = Pick<Job, 'id' | 'run' | 'artifacts'>

const RUNS = '(SELECT * FROM unnest($1::text[], $2::integer[]) AS l (id, run))'

/**
 * Notes that the artifacts of these jobs count no more, in the transaction that deletes them or makes them run again.
 * A note that is there is written anew: a sweep that has just found the job completed would remove it.
 */
export function noteLeftovers(db: Queries, jobs: readonly Left[]): void {
  const left = jobs.filter(({ artifacts }) => artifacts !== null)
  if (left.length === 0) return
  db.send(
    `INSERT INTO artifact_leftovers SELECT id, run FROM ${RUNS} AS l
     WHERE EXISTS (SELECT 1 FROM artifact_chunks AS c WHERE c.id = l.id AND c.run = l.run)
     ON CONFLICT (id, run) DO UPDATE SET run = excluded.run`,
    columns(left),
  )
}

/** A run is noted before its first chunk: where it does not complete, they are found. */
export async function noteRun(db: Queries, { id, run }: RunKey): Promise<void> {
  await db.run('INSERT INTO artifact_leftovers VALUES ($1, $2) ON CONFLICT DO NOTHING', [id, run])
}

/** Tells whether there is more to do. */
export async function sweepLeftovers(db: Connection): Promise<boolean> {
  await db.begin()
  try {
    const more = await sweepPiece(db)
    await db.commit()
    return more
  } catch (error) {
    await db.rollback()
    throw error
  }
}

/** What the jobs are is asked under the locks of the notes: who makes a job run again waits for them. */
async function sweepPiece(db: Queries): Promise<boolean> {
  const over = await db.all<RunKey>(
    `SELECT id, run FROM artifact_leftovers AS l WHERE NOT EXISTS (
       SELECT 1 FROM jobs WHERE jobs.id = l.id AND jobs.run = l.run AND status = 'processing')
     ORDER BY id, run LIMIT ${RUNS_STEP} FOR UPDATE SKIP LOCKED`,
  )
  if (over.length === 0) return false
  const runs = columns(over)
  await db.run(
    `DELETE FROM artifact_leftovers AS l USING jobs WHERE (l.id, l.run) IN ${RUNS}
       AND jobs.id = l.id AND jobs.run = l.run AND jobs.status = 'completed'`,
    runs,
  )
  const removed = await db.run(
    `DELETE FROM artifact_chunks WHERE (id, run, file, n) IN (SELECT id, run, file, n FROM ${RUNS} AS over
       JOIN artifact_leftovers USING (id, run) JOIN artifact_chunks USING (id, run) LIMIT ${CHUNKS_STEP})`,
    runs,
  )
  await db.run(
    `DELETE FROM artifact_leftovers AS l WHERE (l.id, l.run) IN ${RUNS}
       AND NOT EXISTS (SELECT 1 FROM artifact_chunks AS c WHERE c.id = l.id AND c.run = l.run)`,
    runs,
  )
  return removed === CHUNKS_STEP || over.length === RUNS_STEP
}

const columns = (runs: readonly RunKey[]) => [runs.map(({ id }) => id), runs.map(({ run }) => run)]
