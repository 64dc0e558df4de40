// Keys of jobs: who submits with a key that is taken gets the job that has it.
import type Database from 'better-sqlite3'
import { ServiceError } from '../../errors.js'
import { isFinal, type JobWithPayload } from '../../job.js'
import type { JobKey, NewJob } from '../store.js'
import type { Rows } from './rows.js'

interface KeyRow {
  id: string
  fingerprint: string | null
  expires_at: number
}

/** Everything here runs inside a transaction that group commit began. */
export function createKeys(db: Database.Database, rows: Rows) {
  const select = db.prepare<[string, string, string], KeyRow>(
    'SELECT id, fingerprint, expires_at FROM keys WHERE kind = ? AND owner = ? AND key = ?',
  )
  const take = db.prepare(
    'INSERT OR REPLACE INTO keys (kind, owner, key, id, fingerprint, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const expire = db.prepare(
    `DELETE FROM keys WHERE (kind, owner, key) IN (
       SELECT kind, owner, key FROM keys WHERE expires_at <= ? AND (kind = 'idempotency' OR NOT EXISTS (
         SELECT 1 FROM jobs WHERE jobs.id = keys.id AND status NOT IN ('completed', 'failed', 'cancelled')))
       LIMIT ?)`,
  )

  function holderOf({ kind, owner, key, fingerprint }: JobKey, now: number): JobWithPayload | ServiceError | null {
    const row = select.all(kind, owner, key)[0]
    if (row === undefined) return null
    const job = rows.getWithPayload(row.id)
    const held = row.expires_at > now || (kind === 'unique' && job !== null && !isFinal(job.status))
    if (!held || job === null) return null
    if (row.fingerprint === fingerprint) return job
    return new ServiceError(
      'idempotency_key_reused',
      `the Idempotency-Key came before, with another body, for job ${job.id}`,
    )
  }

  return {
    /** The job that has a key of this one, a refusal, or null where all its keys are free; `kind` asks for those alone. */
    holder({ keys = [], created_at }: NewJob, kind?: JobKey['kind']): JobWithPayload | ServiceError | null {
      for (const key of keys) {
        if (kind !== undefined && key.kind !== kind) continue
        const found = holderOf(key, created_at)
        if (found !== null) return found
      }
      return null
    },

    take({ id, keys = [] }: NewJob): void {
      for (const { kind, owner, key, fingerprint, expires_at } of keys)
        take.run(kind, owner, key, id, fingerprint, expires_at)
    },

    /** The request came by its unique_key to that job: sent again, it is to come there by its Idempotency-Key. */
    join({ keys = [], created_at }: NewJob, id: string): void {
      for (const key of keys)
        if (key.kind === 'idempotency' && holderOf(key, created_at) === null)
          take.run(key.kind, key.owner, key.key, id, key.fingerprint, key.expires_at)
    },

    /** Forgets up to `limit` keys that nobody can meet any more. */
    expire: (now: number, limit: number): void => void expire.run(now, limit),
  }
}
