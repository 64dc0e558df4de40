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
    'INSERT OR REPLACE INTO keys (kind, owner, key, id, fingerprint, expires_at, released) VALUES (?, ?, ?, ?, ?, ?, ?)',
  )
  const expire = db.prepare(
    `DELETE FROM keys WHERE (kind, owner, key) IN (
       SELECT kind, owner, key FROM keys WHERE released = 1 AND expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  )

  function holderOf({ kind, owner, key, fingerprint }: JobKey, now: number): JobWithPayload | ServiceError | null {
    const row = select.all(kind, owner, key)[0]
    if (row === undefined) return null
    const job = rows.getWithPayload(row.id)
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
    take.run(kind, owner, key, id, fingerprint, expires_at, kind === 'unique' ? 0 : 1)

  return {
    holderOf,

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
      for (const key of keys) insert(key, id)
    },

    /** The request came by its unique_key to that job: sent again, it is to come there by its Idempotency-Key. */
    join({ keys = [], created_at }: NewJob, id: string): void {
      for (const key of keys) if (key.kind === 'idempotency' && holderOf(key, created_at) === null) insert(key, id)
    },

    /** Forgets up to `limit` keys that nobody can meet any more. */
    expire: (now: number, limit: number): void => void expire.run(now, limit),
  }
}
