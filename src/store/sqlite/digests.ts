// Events that wait for the mail of their digest: they go in the transaction that stores the mail's job.
import type Database from 'better-sqlite3'
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

interface State {
  bytes: number
  unlisted: number
  taken: number
}

/** Everything here runs inside a transaction that group commit began, but for what only reads. */
export function createDigests(db: Database.Database, digests: readonly DigestRules[]) {
  const select = db.prepare<[string], State>('SELECT bytes, unlisted, taken FROM digests WHERE name = ?')
  const start = db.prepare('INSERT OR IGNORE INTO digests VALUES (?, 0, 0, 0)')
  const insert = db.prepare('INSERT INTO digest_events (digest, kind, text, created_at, bytes) VALUES (?, ?, ?, ?, ?)')
  const grow = db.prepare('UPDATE digests SET bytes = bytes + ?, unlisted = unlisted + ? WHERE name = ?')
  const waiting = db.prepare<[string], DigestEvent & { id: number }>(
    'SELECT id, kind, text, created_at FROM digest_events WHERE digest = ? ORDER BY id',
  )
  const take = db.prepare('DELETE FROM digest_events WHERE digest = ? AND id <= ?')
  const settle = db.prepare(
    `UPDATE digests SET taken = @until, unlisted = unlisted - @unlisted,
       bytes = (SELECT coalesce(sum(bytes), 0) FROM digest_events WHERE digest = @digest)
     WHERE name = @digest`,
  )

  const stateOf = (name: string): State => select.all(name)[0] ?? { bytes: 0, unlisted: 0, taken: 0 }

  /** False: there is no room for it. */
  function add({ name, max_bytes }: DigestRules, event: DigestEvent): boolean {
    const bytes = bytesOf(event)
    if (stateOf(name).bytes + bytes > max_bytes) return false
    start.run(name)
    insert.run(name, event.kind, event.text, event.created_at, bytes)
    grow.run(bytes, 0, name)
    return true
  }

  return {
    add,

    /** A job is final. */
    ended(job: Job): void {
      for (const digest of digests) {
        if (!isEventOf(digest, job) || add(digest, jobEvent(job))) continue
        start.run(digest.name)
        grow.run(0, 1, digest.name)
      }
    },

    read(digest: string): DigestContent {
      const { taken, unlisted } = stateOf(digest)
      const rows = waiting.all(digest)
      const until = rows.at(-1)?.id ?? taken
      return {
        events: rows.map(({ id: _, ...event }) => event),
        unlisted,
        cut: { digest, after: taken, until, unlisted },
      }
    },

    /** Whether nobody has taken any of it since it was read. */
    isWhole({ digest, after, unlisted }: DigestCut): boolean {
      const now = stateOf(digest)
      return now.taken === after && now.unlisted >= unlisted
    },

    take(cut: DigestCut): void {
      take.run(cut.digest, cut.until)
      settle.run(cut)
    },
  }
}

export type Digests = ReturnType<typeof createDigests>
