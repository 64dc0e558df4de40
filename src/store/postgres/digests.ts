// Events that wait for the mail of their digest: they go in the transaction that stores the mail's job.
import {
  bytesOf,
  type DigestContent,
  type DigestCut,
  type DigestEvent,
  type DigestRules,
  isEventOf,
  jobEvent,
} from '../../digests/events.js'
import type { Job } from '../../job.js'
import type { Queries } from './connection.js'

interface State {
  bytes: number
  unlisted: number
  taken: number
}

/** Everything here runs inside a transaction that group commit began, but for what only reads. */
export function createDigests(db: Queries, digests: readonly DigestRules[]) {
  async function stateOf(name: string, lock: '' | 'FOR UPDATE' = ''): Promise<State> {
    const text = `SELECT bytes, unlisted, taken FROM digests WHERE name = $1 ${lock}`
    return (await db.all<State>(text, [name]))[0] ?? { bytes: 0, unlisted: 0, taken: 0 }
  }
  /** Its row is there from then on, and this transaction's. */
  async function begin(name: string): Promise<State> {
    await db.run('INSERT INTO digests VALUES ($1, 0, 0, 0) ON CONFLICT DO NOTHING', [name])
    return stateOf(name, 'FOR UPDATE')
  }
  const grow = (name: string, bytes: number, unlisted: number) =>
    db.run('UPDATE digests SET bytes = bytes + $2, unlisted = unlisted + $3 WHERE name = $1', [name, bytes, unlisted])

  /** False: there is no room for it. */
  async function add({ name, max_bytes }: DigestRules, event: DigestEvent): Promise<boolean> {
    const bytes = bytesOf(event)
    if ((await begin(name)).bytes + bytes > max_bytes) return false
    await db.run('INSERT INTO digest_events (digest, kind, text, created_at, bytes) VALUES ($1, $2, $3, $4, $5)', [
      name,
      event.kind,
      event.text,
      event.created_at,
      bytes,
    ])
    await grow(name, bytes, 0)
    return true
  }

  return {
    add,

    /** A job is final. */
    async ended(job: Job): Promise<void> {
      for (const digest of digests)
        if (isEventOf(digest, job) && !(await add(digest, jobEvent(job)))) await grow(digest.name, 0, 1)
    },

    async read(digest: string): Promise<DigestContent> {
      const { taken, unlisted } = await stateOf(digest)
      const rows = await db.all<DigestEvent & { id: number }>(
        'SELECT id, kind, text, created_at FROM digest_events WHERE digest = $1 ORDER BY id',
        [digest],
      )
      const until = rows.at(-1)?.id ?? taken
      return {
        events: rows.map(({ id: _, ...event }) => event),
        unlisted,
        cut: { digest, after: taken, until, unlisted },
      }
    },

    /** Whether nobody has taken any of it since it was read. */
    async isWhole({ digest, after, unlisted }: DigestCut): Promise<boolean> {
      const now = await stateOf(digest, 'FOR UPDATE')
      return now.taken === after && now.unlisted >= unlisted
    },

    async take({ digest, until, unlisted }: DigestCut): Promise<void> {
      await db.run('DELETE FROM digest_events WHERE digest = $1 AND id <= $2', [digest, until])
      await db.run(
        `UPDATE digests SET taken = $2, unlisted = unlisted - $3,
           bytes = (SELECT coalesce(sum(bytes), 0) FROM digest_events WHERE digest = $1)
         WHERE name = $1`,
        [digest, until, unlisted],
      )
    },
  }
}

export type Digests = ReturnType<typeof createDigests>
