// Lists of jobs, newest first, by whichever index leads to them soonest, a bounded number of rows at a time.
import type Database from 'better-sqlite3'
import { isFinal, type Job, type JobStatus } from '../../job.js'
import { fits } from '../filters.js'
import type { Counts, JobFilter, JobPage, TypeCounts } from '../store.js'
import type { Rows } from './rows.js'

/** Every id is lower than this one. */
const ABOVE_ALL = '\u{10ffff}'
/** Rows that one page looks at: where few of many fit, it ends before it is full. */
const MOST_LOOKED_AT = 5_000

interface CountRow {
  type: string
  status: JobStatus
  n: number
  bytes: number
}

type Ids = (start: string, limit: number) => string[]

export function createLists(db: Database.Database, rows: Rows) {
  const all = db.prepare<[string, string, number], { id: string }>(
    'SELECT id FROM jobs WHERE id < ? AND id >= ? ORDER BY id DESC LIMIT ?',
  )
  const ofPair = db.prepare<[string, JobStatus, string, string, number], { id: string }>(
    'SELECT id FROM jobs WHERE type = ? AND status = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?',
  )
  const ofBatch = db.prepare<[string, string, string, number], { id: string }>(
    'SELECT id FROM jobs WHERE batch_id = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?',
  )
  const tagged = db.prepare<[string, string, string, number], { id: string }>(
    'SELECT id FROM tags WHERE tag = ? AND id < ? AND id >= ? ORDER BY id DESC LIMIT ?',
  )
  const now = db.prepare<[], CountRow>('SELECT type, status, n, bytes FROM counts WHERE n > 0')
  const ever = db.prepare<[], CountRow>('SELECT type, status, n, 0 AS bytes FROM totals')

  /** Ids of jobs among which all that fit are, newest first. */
  function candidates({ status, type, tag, batch, from_id: from = '' }: JobFilter): Ids {
    if (batch !== undefined) return (start, limit) => idsOf(ofBatch.all(batch, start, from, limit))
    if (tag !== undefined) return (start, limit) => idsOf(tagged.all(tag, start, from, limit))
    if (status === undefined && type === undefined) return (start, limit) => idsOf(all.all(start, from, limit))
    const isAsked = (row: CountRow) => (type ?? row.type) === row.type && (status?.includes(row.status) ?? true)
    const pairs = now.all().filter(isAsked)
    return (start, limit) =>
      pairs
        .flatMap((pair) => idsOf(ofPair.all(pair.type, pair.status, start, from, limit)))
        .sort((a, b) => (a < b ? 1 : -1))
        .slice(0, limit)
  }

  function list(filter: JobFilter, limit: number, before: string | null): JobPage {
    const look = candidates(filter)
    const jobs: Job[] = []
    let last = before ?? ABOVE_ALL
    for (let looked = 0; looked < MOST_LOOKED_AT; ) {
      const wanted = limit - jobs.length
      // One more tells whether there is a further page.
      const ids = look(last, wanted + 1)
      for (const id of ids.slice(0, wanted)) {
        const job = rows.get(id)
        if (job !== null && fits(job, filter)) jobs.push(job)
        last = id
      }
      if (ids.length <= wanted) return { jobs, next: null }
      if (jobs.length === limit) return { jobs, next: last }
      looked += ids.length
    }
    return { jobs, next: last }
  }

  function counts(): Counts {
    const all: Counts = {}
    const of = (type: string): TypeCounts => (all[type] ??= { now: {}, bytes: 0, ever: {} })
    for (const { type, status, n, bytes } of now.all()) {
      of(type).now[status] = n
      of(type).bytes += bytes
    }
    for (const { type, status, n } of ever.all()) if (isFinal(status)) of(type).ever[status] = n
    return all
  }

  return { list, counts }
}

const idsOf = (found: { id: string }[]) => found.map(({ id }) => id)
