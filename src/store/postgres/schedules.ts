// Schedules as rows: a tick is recorded in the same transaction as the job that it makes, or as why it makes none.
import type { ServiceError } from '../../errors.js'
import type { Job } from '../../job.js'
import { addRun } from '../../schedules/totals.js'
import type { Bounds, Fire, Fired, NewJob, Schedule, ScheduleChange, TickRecord } from '../store.js'
import type { Queries } from './connection.js'
import type { Digests } from './digests.js'

/** Records kept of one schedule. */
const MAX_TICKS_KEPT = 1_000

/** What takes new jobs in. */
interface Submissions {
  refusal(jobs: readonly NewJob[], bounds: Bounds): Promise<ServiceError | null>
  insert(jobs: readonly NewJob[]): Promise<void>
}

type Row = { [K in keyof Schedule]: K extends 'totals' ? string | null : Schedule[K] }

const COLUMNS = [
  'name',
  'source',
  'document',
  'anchor',
  'created_at',
  'updated_at',
  'paused_at',
  'next_at',
  'delay',
] as const
const SELECT = `SELECT ${COLUMNS}, totals FROM schedules`

/** Everything here runs inside a transaction that group commit began, but for what only reads. */
export function createSchedules(db: Queries, digests: Digests) {
  const get = async (name: string, lock: '' | 'FOR UPDATE' = ''): Promise<Schedule | null> =>
    (await db.all<Row>(`${SELECT} WHERE name = $1 ${lock}`, [name])).map(parse)[0] ?? null

  async function isRunning(name: string): Promise<boolean> {
    const text = `SELECT 1 FROM jobs WHERE schedule = $1
      AND status IN ('waiting', 'scheduled', 'pending', 'processing', 'retrying') LIMIT 1`
    return (await db.all(text, [name])).length > 0
  }

  /** False: that tick has its record, and ran or did not. */
  async function write(name: string, { tick_at, until, asked, job_id, reason }: TickRecord): Promise<boolean> {
    const values = [name, tick_at, asked, until, job_id, reason]
    return (await db.run('INSERT INTO ticks VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING', values)) === 1
  }

  const trim = (name: string) =>
    db.run(
      `DELETE FROM ticks WHERE schedule = $1 AND tick_at <= (
         SELECT tick_at FROM ticks WHERE schedule = $1 ORDER BY tick_at DESC LIMIT 1 OFFSET ${MAX_TICKS_KEPT})`,
      [name],
    )

  /** What it made; null: somebody else has fired or changed it since it was read. */
  async function fireOne(fire: Fire, bounds: Bounds, { refusal, insert }: Submissions): Promise<Fired | null> {
    const { name, updated_at, from, ticks, queue, now } = fire
    const row = await get(name, 'FOR UPDATE')
    if (row === null || row.updated_at !== updated_at) return null
    if (from !== null && (row.next_at !== from || row.paused_at !== null)) return null
    // Somebody else has sent, or is about to send, some of what this mail would tell.
    for (const { takes } of ticks) if (takes != null && !(await digests.isWhole(takes))) return null
    const made: Fired = { name, jobs: [], ticks: [] }
    for (const { job, takes, ...tick } of ticks) {
      const overlaps = job !== null && !queue && (await isRunning(name))
      const full = !overlaps && job !== null && (await refusal([job], bounds)) !== null
      const refused = overlaps ? 'overlap' : full ? 'no_room' : null
      const runs = refused === null ? job : null
      const entry = { ...tick, job_id: runs?.id ?? null, reason: refused ?? tick.reason }
      if (!(await write(name, entry))) continue
      made.ticks.push(entry)
      if (runs === null) continue
      await insert([runs])
      if (takes != null) await digests.take(takes)
      made.jobs.push(runs)
    }
    await trim(name)
    if (from === null) return made
    // Where there is no run whose end would be waited for, the delay counts from now.
    const afterRun = async () => (row.delay === null || (await isRunning(name)) ? null : now + row.delay)
    const next_at = fire.next_at === 'after_run' ? await afterRun() : fire.next_at
    await db.run('UPDATE schedules SET next_at = $1 WHERE name = $2', [next_at, name])
    return made
  }

  return {
    get: (name: string) => get(name),
    list: async (after: string, limit: number) =>
      (await db.all<Row>(`${SELECT} WHERE name > $1 ORDER BY name LIMIT $2`, [after, limit])).map(parse),
    due: async (now: number, limit: number) =>
      (
        await db.all<Row>(
          `${SELECT} WHERE next_at IS NOT NULL AND paused_at IS NULL AND next_at <= $1 ORDER BY next_at LIMIT $2`,
          [now, limit],
        )
      ).map(parse),
    async next(): Promise<number | null> {
      const text = 'SELECT min(next_at) AS at FROM schedules WHERE next_at IS NOT NULL AND paused_at IS NULL'
      return (await db.all<{ at: number | null }>(text))[0]?.at ?? null
    },
    history: (name: string, limit: number) =>
      db.all<TickRecord>(
        `SELECT tick_at, until, asked, job_id, reason FROM ticks WHERE schedule = $1
         ORDER BY tick_at DESC, asked DESC LIMIT $2`,
        [name, limit],
      ),

    async put({ before, after, skipped = null }: ScheduleChange): Promise<Schedule | null> {
      const row = await get(after.name, 'FOR UPDATE')
      if (row?.updated_at !== before?.updated_at || row?.next_at !== before?.next_at) return null
      const next_at = after.delay !== null && (await isRunning(after.name)) ? null : after.next_at
      const values = COLUMNS.map((name) => (name === 'next_at' ? next_at : after[name]))
      const changed = COLUMNS.filter((name) => name !== 'name').map((name) => `${name} = excluded.${name}`)
      const put = await db.run(
        `INSERT INTO schedules (${COLUMNS}) VALUES (${COLUMNS.map((_, i) => `$${i + 1}`)})
         ON CONFLICT (name) DO UPDATE SET ${changed} ${row === null ? 'WHERE false' : ''}`,
        values,
      )
      // Somebody else has made it at the same moment.
      if (put === 0) return null
      if (skipped !== null) await write(after.name, skipped)
      return get(after.name)
    },

    async remove(name: string, source: Schedule['source']): Promise<boolean> {
      return (await db.run('DELETE FROM schedules WHERE name = $1 AND source = $2', [name, source])) > 0
    },

    async fire(fires: readonly Fire[], bounds: Bounds, submissions: Submissions): Promise<Fired[]> {
      const made: (Fired | null)[] = []
      for (const fire of fires) made.push(await fireOne(fire, bounds, submissions))
      return made.filter((one) => one !== null)
    },

    /** A run of its job is over. */
    async ended(job: Job): Promise<void> {
      const row = job.schedule === null ? null : await get(job.schedule, 'FOR UPDATE')
      if (row === null) return
      await db.run('UPDATE schedules SET totals = $1, next_at = coalesce(next_at, $2 + delay) WHERE name = $3', [
        JSON.stringify(addRun(row.totals, job)),
        job.finished_at,
        row.name,
      ])
    },
  }
}

function parse(row: Row): Schedule {
  return { ...row, totals: row.totals === null ? null : JSON.parse(row.totals) }
}

export type Schedules = ReturnType<typeof createSchedules>
