// Jobs as rows: read under a lock, moved by the state machine, and written back many in one guarded statement.
import { type Adjustment, withAdjustment } from '../../adjust.js'
import { type Job, type JobWithPayload, type Rules, type Step, transition, withCancelRequest } from '../../job.js'
import {
  COLUMNS,
  ended,
  MAX_ATTEMPTS_KEPT,
  MAX_LOGS_KEPT,
  MUTABLE,
  NEW,
  parseJob,
  type Row,
  stored,
} from '../job-row.js'
import type { ProgressReport } from '../store.js'
import type { Queries } from './connection.js'
import type { JobLedger } from './ledger.js'
import { noteLeftovers } from './leftovers.js'

/** A job and the step that it is to take. */
export interface Move<J extends Job = Job> {
  job: J
  step: Step
}

export type Rows = ReturnType<typeof createRows>

const TYPES: Partial<Record<keyof Job, string>> = {
  progress: 'integer',
  priority: 'integer',
  attempt: 'integer',
  max_attempts: 'integer',
  run: 'integer',
  interruptions: 'integer',
  slot: 'integer',
}
const NUMBERS: readonly (keyof Job)[] = [
  ...(['created_at', 'updated_at', 'run_at', 'start_by', 'started_at', 'finished_at', 'rank', 'timeout_ms'] as const),
  ...(['cancel_requested_at', 'payload_bytes', 'bytes'] as const),
]
const typeOf = (name: keyof Job) => TYPES[name] ?? (NUMBERS.includes(name) ? 'bigint' : 'text')

/** `$first::type[], …`, one array a column. */
const arrays = (names: readonly (keyof Job)[], first: number) =>
  names.map((name, i) => `$${first + i}::${typeOf(name)}[]`).join(', ')

const WITH_PAYLOAD = `${COLUMNS}, payload`
const INSERT = `INSERT INTO jobs (${NEW}, payload) SELECT * FROM unnest(${arrays(NEW, 1)}, $${NEW.length + 1}::text[])`
const UPDATE = `UPDATE jobs SET ${MUTABLE.map((name) => `${name} = new.${name}`)}
  FROM unnest($1::text[], $2::text[], $3::integer[], ${arrays(MUTABLE, 4)}) AS new (id, was, was_run, ${MUTABLE})
  WHERE jobs.id = new.id AND jobs.status = new.was AND jobs.run = new.was_run`

/** Everything here runs inside a transaction that group commit began. */
export function createRows(db: Queries, rules: Rules, ledger: JobLedger) {
  const jobs = async <J extends Job>(text: string, values: readonly unknown[]) =>
    (await db.all<Row<J>>(text, values)).map(parseJob) as J[]

  async function save<J extends Job>(changes: readonly { before: J; after: J }[]): Promise<void> {
    if (changes.length === 0) return
    const guards = [
      changes.map(({ before }) => before.id),
      changes.map(({ before }) => before.status),
      changes.map(({ before }) => before.run),
    ]
    const columns = MUTABLE.map((name) => changes.map(({ after }) => stored(after, name)))
    const changed = await db.run(UPDATE, [...guards, ...columns])
    // They were read under a lock, so this is a defect and rolls everything back.
    if (changed !== changes.length) throw new Error('a job changed under a transaction')
    for (const { before, after } of changes) ledger.moved(before, after)
  }

  async function beginAttempts(started: readonly Job[], now: number): Promise<void> {
    if (started.length === 0) return
    const column = <K extends keyof Job>(name: K) => started.map((job) => job[name])
    await db.run(
      `INSERT INTO attempts (id, run, attempt, node, slot, started_at)
       SELECT *, $6::bigint FROM unnest($1::text[], $2::integer[], $3::integer[], $4::text[], $5::integer[])`,
      [column('id'), column('run'), column('attempt'), column('node'), column('slot'), now],
    )
    const old = started.filter(({ run }) => run > MAX_LOGS_KEPT)
    if (old.length === 0) return
    for (const [table, kept] of [
      ['logs', MAX_LOGS_KEPT],
      ['attempts', MAX_ATTEMPTS_KEPT],
    ] as const)
      await db.run(
        `DELETE FROM ${table} USING unnest($1::text[], $2::integer[]) AS old (id, run)
         WHERE ${table}.id = old.id AND ${table}.run <= old.run - ${kept}`,
        [old.map(({ id }) => id), old.map(({ run }) => run)],
      )
  }

  async function endAttempts(over: readonly { after: Job; step: Step }[], now: number): Promise<void> {
    if (over.length === 0) return
    const outcomes = over.map(({ after, step }) => ended(after, step))
    // A job keeps the error of its last failed attempt; a run that did not fail has none.
    const errors = over.map(({ after }, i) =>
      outcomes[i] === 'retry' || outcomes[i] === 'fail' ? stored(after, 'error') : null,
    )
    const column = <K extends keyof Job>(name: K) => over.map(({ after }) => after[name])
    await db.run(
      `UPDATE attempts SET finished_at = $1, outcome = o.outcome, reason = o.reason, reason_detail = o.detail, error = o.error
       FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[])
         AS o (id, run, outcome, reason, detail, error)
       WHERE attempts.id = o.id AND attempts.run = o.run`,
      [now, column('id'), column('run'), outcomes, column('reason'), column('reason_detail'), errors],
    )
  }

  return {
    async insert(all: readonly JobWithPayload[]): Promise<void> {
      if (all.length === 0) return
      const columns = NEW.map((name) => all.map((job) => stored(job, name)))
      await db.run(INSERT, [...columns, all.map(({ payload }) => payload)])
      for (const job of all) ledger.added(job)
    },

    /** Locked until the transaction ends, in the order of their ids: no two nodes wait for each other. */
    lock: (ids: readonly string[]): Promise<Job[]> =>
      jobs(`SELECT ${COLUMNS} FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE`, [ids]),
    async get(id: string): Promise<Job | null> {
      return (await this.lock([id]))[0] ?? null
    },
    /** Without a lock. */
    async getWithPayload(id: string): Promise<JobWithPayload | null> {
      return (await jobs<JobWithPayload>(`SELECT ${WITH_PAYLOAD} FROM jobs WHERE id = $1`, [id]))[0] ?? null
    },
    /** All jobs of a batch, without a lock, in the order of their ids. */
    ofBatch: (batch: string): Promise<JobWithPayload[]> =>
      jobs(`SELECT ${WITH_PAYLOAD} FROM jobs WHERE batch_id = $1 ORDER BY id`, [batch]),
    /** Those that `condition` finds, locked; what another node has locked is left to it. */
    take: (condition: string, values: readonly unknown[]): Promise<JobWithPayload[]> =>
      jobs(`SELECT ${WITH_PAYLOAD} FROM jobs WHERE ${condition} FOR UPDATE SKIP LOCKED`, values),

    /** Takes each step and writes it, with its run's row of `attempts`; null where the job's status does not allow it. */
    async apply<J extends Job>(moves: readonly Move<J>[], now: number): Promise<(J | null)[]> {
      const taken = moves.map(({ job, step }) => ({ before: job, step, after: transition(job, step, now, rules) }))
      const done = taken.filter((one): one is { before: J; step: Step; after: J } => one.after !== null)
      await save(done)
      await beginAttempts(
        done.flatMap(({ after }) => (after.status === 'processing' ? [after] : [])),
        now,
      )
      const over = done.filter(({ before, after }) => before.status === 'processing' && after.status !== 'processing')
      await endAttempts(over, now)
      return taken.map(({ after }) => after)
    },

    async adjust(job: Job, change: Adjustment, now: number): Promise<Job | null> {
      const after = withAdjustment(job, change, now, rules)
      if (after !== null) await save([{ before: job, after }])
      return after
    },

    async requestCancel(job: Job, detail: string, now: number): Promise<Job> {
      const after = withCancelRequest(job, detail, now)
      await save([{ before: job, after }])
      return after
    },

    /** Ids of those whose runs go on. */
    async report(reports: readonly ProgressReport[]): Promise<{ id: string; cancel: boolean }[]> {
      const column = <K extends keyof ProgressReport>(name: K) => reports.map((report) => report[name])
      return db.all(
        `UPDATE jobs SET progress = r.progress, progress_note = r.note, updated_at = r.at
         FROM unnest($1::text[], $2::integer[], $3::integer[], $4::text[], $5::bigint[]) AS r (id, run, progress, note, at)
         WHERE jobs.id = r.id AND jobs.run = r.run AND jobs.status = 'processing'
         RETURNING jobs.id, jobs.cancel_requested_at IS NOT NULL AS cancel`,
        [column('id'), column('run'), column('progress'), column('note'), column('at')],
      )
    },

    /** Final jobs are gone, with all that belongs to them alone. */
    async remove(gone: readonly Job[]): Promise<void> {
      if (gone.length === 0) return
      await noteLeftovers(db, gone)
      const ids = gone.map(({ id }) => id)
      await db.run('DELETE FROM jobs WHERE id = ANY($1::text[])', [ids])
      await db.run(`DELETE FROM keys WHERE id = ANY($1::text[]) AND kind = 'unique'`, [ids])
      for (const job of gone) ledger.removed(job)
    },
  }
}
