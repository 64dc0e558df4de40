// Keys of jobs: who submits with a key that is taken gets the job that has it.
import { ServiceError } from '../../errors.js'
import { isFinal, type JobWithPayload } from '../../job.js'
import type { JobKey, NewJob } from '../store.js'
import type { Queries } from './connection.js'
import { lockNames } from './locks.js'
import type { Rows } from './rows.js'

interface KeyRow {
  id: string
  fingerprint: string | null
  expires_at: number
}

/** Everything here runs inside a transaction that group commit began, but for `holderOf`. */
export function createKeys(db: Queries, rows: Pick<Rows, 'getWithPayload'>) {
  async function holderOf(asked: JobKey, now: number): Promise<JobWithPayload | ServiceError | null> {
    const { kind, owner, key, fingerprint } = asked
    const [row] = await db.all<KeyRow>(
      'SELECT id, fingerprint, expires_at FROM keys WHERE kind = $1 AND owner = $2 AND key = $3',
      [kind, owner, key],
    )
    if (row === undefined) return null
    const job = await rows.getWithPayload(row.id)
    const held = row.expires_at > now || (kind === 'unique' && job !== null && !isFinal(job.status))
    if (!held) return null
    if (row.fingerprint !== fingerprint)
      return new ServiceError(
        'idempotency_key_reused',
        `the Idempotency-Key came before, with another body, for job ${row.id}`,
      )
    if (job !== null || kind === 'unique') return job
    return new ServiceError(
      'job_deleted',
      `the Idempotency-Key came before, for job ${row.id}, which was deleted since`,
    )
  }

  const insert = ({ kind, owner, key, fingerprint, expires_at }: JobKey, id: string) =>
    db.run(
      `INSERT INTO keys (kind, owner, key, id, fingerprint, expires_at, released) VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (owner, key, kind) DO UPDATE SET id = excluded.id, fingerprint = excluded.fingerprint,
         expires_at = excluded.expires_at, released = excluded.released`,
      [kind, owner, key, id, fingerprint, expires_at, kind !== 'unique'],
    )

  return {
    holderOf,

    /** Whoever submits with one of these keys at the same time, on whichever node, waits until this transaction has ended. */
    lock: (jobs: readonly NewJob[]) =>
      lockNames(
        db,
        jobs.flatMap(({ keys = [] }) =>
          keys.map(({ kind, owner, key }) => `key ${JSON.stringify([kind, owner, key])}`),
        ),
      ),

    /** The job that has a key of this one, a refusal, or null where all its keys are free. */
    async holder({ keys = [], created_at }: NewJob): Promise<JobWithPayload | ServiceError | null> {
      for (const key of keys) {
        const found = await holderOf(key, created_at)
        if (found !== null) return found
      }
      return null
    },

    async take({ id, keys = [] }: NewJob): Promise<void> {
      for (const key of keys) await insert(key, id)
    },

    /** The request came by its unique_key to that job: sent again, it is to come there by its Idempotency-Key. */
    async join({ keys = [], created_at }: NewJob, id: string): Promise<void> {
      for (const key of keys)
        if (key.kind === 'idempotency' && (await holderOf(key, created_at)) === null) await insert(key, id)
    },

    /** Forgets up to `limit` keys that nobody can meet any more. */
    expire: (now: number, limit: number) =>
      db.run(
        `DELETE FROM keys WHERE (owner, key, kind) IN (SELECT owner, key, kind FROM keys
           WHERE released AND expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
        [now, limit],
      ),
  }
}
