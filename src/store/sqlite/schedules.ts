// Schedules as rows: a tick is recorded in the same transaction as the job that it makes, or as why it makes none.
import type Database from 'better-sqlite3'
import type { ServiceError } from '../../errors.js'
import type { Job } from '../../job.js'
import { addRun } from '../../schedules/totals.js'
import type { Bounds, Fire, Fired, NewJob, Schedule, ScheduleChange, TickRecord } from '../store.js'
import type { Digests } from './digests.js'

/** Records kept of one schedule. */
const MAX_TICKS_KEPT = 1_000

/** What takes new jobs in. */
interface Submissions {
  refusal(jobs: readonly NewJob[], bounds: Bounds): ServiceError | null
  insert(jobs: readonly NewJob[]): void
}

type Row = { [K in keyof Schedule]: K extends 'totals' ? string | null : Schedule[K] }

/** Everything here runs inside a transaction that group commit began, but for what only reads. */
export function createSchedules(db: Database.Database, digests: Digests) {
  const columns = 'name, source, document, anchor, created_at, updated_at, paused_at, next_at, delay, totals'
  const select = db.prepare<[string], Row>(`SELECT ${columns} FROM schedules WHERE name = ?`)
  const selectAll = db.prepare<[string, number], Row>(
    `SELECT ${columns} FROM schedules WHERE name > ? ORDER BY name LIMIT ?`,
  )
  const due = db.prepare<[number, number], Row>(
    `SELECT ${columns} FROM schedules WHERE next_at IS NOT NULL AND paused_at IS NULL AND next_at <= ?
     ORDER BY next_at LIMIT ?`,
  )
  const next = db.prepare<[], { at: number | null }>(
    'SELECT min(next_at) AS at FROM schedules WHERE next_at IS NOT NULL AND paused_at IS NULL',
  )
  const replace = db.prepare(
    `INSERT OR REPLACE INTO schedules (${columns})
     VALUES (@name, @source, @document, @anchor, @created_at, @updated_at, @paused_at, @next_at, @delay, @totals)`,
  )
  const move = db.prepare('UPDATE schedules SET next_at = ? WHERE name = ?')
  const end = db.prepare('UPDATE schedules SET totals = ?, next_at = coalesce(next_at, ? + delay) WHERE name = ?')
  const remove = db.prepare('DELETE FROM schedules WHERE name = ? AND source = ?')
  const forget = db.prepare('DELETE FROM ticks WHERE schedule = ?')
  const trim = db.prepare(
    `DELETE FROM ticks WHERE schedule = @name AND tick_at <= (
       SELECT tick_at FROM ticks WHERE schedule = @name ORDER BY tick_at DESC LIMIT 1 OFFSET ${MAX_TICKS_KEPT})`,
  )
  const record = db.prepare('INSERT OR IGNORE INTO ticks VALUES (?, ?, ?, ?, ?, ?)')
  const open = db.prepare<[string], { id: string }>(
    `SELECT id FROM jobs WHERE schedule = ? AND status IN ('waiting', 'scheduled', 'pending', 'processing', 'retrying')
     LIMIT 1`,
  )
  const history = db.prepare<[string, number], Omit<TickRecord, 'asked'> & { asked: number }>(
    'SELECT tick_at, until, asked, job_id, reason FROM ticks WHERE schedule = ? ORDER BY tick_at DESC, asked DESC LIMIT ?',
  )

  const get = (name: string): Schedule | null => select.all(name).map(parse)[0] ?? null
  const isRunning = (name: string) => open.all(name).length > 0

  /** False: that tick has its record, and ran or did not. */
  function write(name: string, { tick_at, until, asked, job_id, reason }: TickRecord): boolean {
    return record.run(name, tick_at, asked ? 1 : 0, until, job_id, reason).changes === 1
  }

  /** What it made; null: somebody else has fired or changed it since it was read. */
  function fireOne(fire: Fire, bounds: Bounds, { refusal, insert }: Submissions): Fired | null {
    const { name, updated_at, from, ticks, queue, now } = fire
    const row = get(name)
    if (row === null || row.updated_at !== updated_at) return null
    if (from !== null && (row.next_at !== from || row.paused_at !== null)) return null
    // Somebody else has sent, or is about to send, some of what this mail would tell.
    if (ticks.some(({ takes }) => takes != null && !digests.isWhole(takes))) return null
    const made: Fired = { name, jobs: [], ticks: [] }
    for (const { job, takes, ...tick } of ticks) {
      const overlaps = job !== null && !queue && isRunning(name)
      const refused = overlaps ? 'overlap' : job !== null && refusal([job], bounds) !== null ? 'no_room' : null
      const runs = refused === null ? job : null
      const entry = { ...tick, job_id: runs?.id ?? null, reason: refused ?? tick.reason }
      if (!write(name, entry)) continue
      made.ticks.push(entry)
      if (runs === null) continue
      insert([runs])
      if (takes != null) digests.take(takes)
      made.jobs.push(runs)
    }
    trim.run({ name })
    // Where there is no run whose end would be waited for, the delay counts from now.
    const afterRun = () => (row.delay === null || isRunning(name) ? null : now + row.delay)
    if (from !== null) move.run(fire.next_at === 'after_run' ? afterRun() : fire.next_at, name)
    return made
  }

  return {
    get,
    list: (after: string, limit: number): Schedule[] => selectAll.all(after, limit).map(parse),
    due: (now: number, limit: number): Schedule[] => due.all(now, limit).map(parse),
    next: (): number | null => next.all()[0]?.at ?? null,
    history: (name: string, limit: number): TickRecord[] =>
      history.all(name, limit).map((tick) => ({ ...tick, asked: tick.asked === 1 })),

    put({ before, after, skipped = null }: ScheduleChange): Schedule | null {
      const row = get(after.name)
      if (row?.updated_at !== before?.updated_at || row?.next_at !== before?.next_at) return null
      const totals = row?.totals ?? null
      const next_at = after.delay !== null && isRunning(after.name) ? null : after.next_at
      replace.run({ ...after, next_at, totals: totals === null ? null : JSON.stringify(totals) })
      if (skipped !== null) write(after.name, skipped)
      return get(after.name)
    },

    remove(name: string, source: Schedule['source']): boolean {
      if (remove.run(name, source).changes === 0) return false
      forget.run(name)
      return true
    },

    fire(fires: readonly Fire[], bounds: Bounds, submissions: Submissions): Fired[] {
      return fires.flatMap((fire) => fireOne(fire, bounds, submissions) ?? [])
    },

    /** A run of its job is over. */
    ended(job: Job): void {
      const row = job.schedule === null ? null : get(job.schedule)
      if (row === null) return
      end.run(JSON.stringify(addRun(row.totals, job)), job.finished_at, row.name)
    },
  }
}

function parse(row: Row): Schedule {
  return { ...row, totals: row.totals === null ? null : JSON.parse(row.totals) }
}

export type Schedules = ReturnType<typeof createSchedules>
