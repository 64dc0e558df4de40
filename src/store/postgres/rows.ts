// Jobs as rows: read under a lock, moved by the state machine, and written back many in one guarded statement.
import { type Adjustment, withAdjustment } from '../../adjust.js'
import {
  isFinal,
  type Job,
  type JobWithPayload,
  type Rules,
  type Step,
  transition,
  withCancelRequest,
} from '../../job.js'
import {
  COLUMNS,
  ended,
  MAX_ATTEMPTS_KEPT,
  MAX_LOGS_KEPT,
  NEW,
  parseJob,
  parseWithPayload,
  stored,
  type Values,
  type ValuesWithPayload,
} from '../job-row.js'
import type { ProgressReport } from '../store.js'
import type { Queries } from './connection.js'
import type { JobLedger } from './ledger.js'
import { noteLeftovers } from './leftovers.js'
import { arrays, BESIDE, type Change, column, writeBack } from './write-back.js'

/** A job and the step that it is to take. */
export interface Move<J extends Job = Job> {
  job: J
  step: Step
  now: number
}

interface Taken<J extends Job = Job> extends Change<J> {
  step: Step
}

export interface Applied<J extends Job> {
  /** Null where the job's status does not allow its step. */
  after: (J | null)[]
  /** Ids of those that are final and that some job waits for. */
  awaited: string[]
}

/** A row of another table that belongs to a job. */
interface Beside {
  what: 'awaited' | 'key' | 'checkpoint'
  id: string
}

export type Rows = ReturnType<typeof createRows>

const WITH_PAYLOAD = `${COLUMNS}, payload`
const INSERT = `INSERT INTO jobs (${NEW}, payload) SELECT * FROM unnest(${arrays(NEW, 1)}, $${NEW.length + 1}::text[])`

/**
 * The step `claim` (job.ts) of the row whose slot is `first.slot`, by $2 at $1: what waits is not carried to a node and back
 * for it.
 */
export const STARTED = `status = 'processing', attempt = attempt + 1, run = jobs.run + 1, progress = 0,
  progress_note = NULL, started_at = $1::bigint, updated_at = $1::bigint, node = $2::text, slot = first.slot,
  reason = 'claimed', reason_detail =
    'attempt ' || attempt + 1 || ' of ' || max_attempts || ' runs in slot ' || first.slot || ' of ' || $2::text`

/** Of a run that is over: what it was, and how it ended. */
const RUN = ['id', 'run', 'attempt', 'node', 'slot', 'started_at'] as const
const OVER = ['finished_at', 'reason', 'reason_detail', 'outcome', 'error'] as const
const ATTEMPT = `INSERT INTO attempts (${RUN}, ${OVER})
  SELECT * FROM unnest(${arrays(RUN, 1)}, $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[])
  ON CONFLICT DO NOTHING`

/** Everything here runs inside a transaction that group commit began. */
export function createRows(db: Queries, rules: Rules, ledger: JobLedger) {
  const jobs = async (text: string, values: readonly unknown[]) => (await db.values<Values>(text, values)).map(parseJob)
  const withPayloads = async (text: string, values: readonly unknown[]) =>
    (await db.values<ValuesWithPayload>(text, values)).map(parseWithPayload)

  /** Writes those that still are as they were when they were read, and answers which they are. */
  async function save<J extends Job>(changes: readonly Change<J>[], locked = true) {
    if (changes.length === 0) return { moved: new Set<string>(), awaited: [] }
    const turned = changes.filter(({ before, after }) => isFinal(before.status) !== isFinal(after.status))
    const [written, beside] = await Promise.all([
      db.all<{ id: string }>(...writeBack(changes)),
      turned.length > 0 ? db.all<Beside>(BESIDE, [turned.map(({ after }) => after.id)]) : [],
    ])
    if (locked && written.length !== changes.length) throw new Error('a job changed under a transaction')
    const moved = new Set(written.map(({ id }) => id))
    for (const { before, after } of changes) if (moved.has(after.id)) ledger.moved(before, after)
    const own = beside.filter(({ id }) => moved.has(id))
    const after = new Map(turned.map(({ after }) => [after.id, after]))
    letGo(own, after)
    return { moved, awaited: own.flatMap(({ what, id }) => (what === 'awaited' && isOver(after.get(id)) ? [id] : [])) }
  }

  /** A unique key is held by its job until that is final, and again when it is rerun; what is completed runs no more. */
  function letGo(beside: readonly Beside[], after: ReadonlyMap<string, Job>): void {
    const keyed = beside.flatMap(({ what, id }) => (what === 'key' ? [id] : []))
    if (keyed.length > 0)
      db.send(
        `UPDATE keys SET released = now.final FROM unnest($1::text[], $2::boolean[]) AS now (id, final)
         WHERE keys.id = now.id AND kind = 'unique'`,
        [keyed, keyed.map((id) => isOver(after.get(id)))],
      )
    const done = beside.flatMap(({ what, id }) =>
      what === 'checkpoint' && after.get(id)?.status === 'completed' ? [id] : [],
    )
    if (done.length > 0) db.send('DELETE FROM checkpoints WHERE id = ANY($1::text[])', [done])
  }

  /**
   * Rows for the runs after which the job goes on: of a job that is final, the last run is in its own row, until a rerun
   * clears that.
   */
  function endRuns(changes: readonly Taken[]): void {
    const over = changes.flatMap(({ before, step, after }) => {
      if (before.status === 'processing' && !isFinal(after.status)) return [runOf(before, after, step)]
      return step.verb === 'rerun' && before.started_at !== null ? [runOf(before, before, { verb: 'complete' })] : []
    })
    if (over.length > 0) db.send(ATTEMPT, [...[...RUN, ...OVER].map((name) => over.map((run) => run[name]))])
  }

  /** Of a job that runs again and again, not all is kept. */
  function forgetOldRuns(started: readonly Job[]): void {
    const old = started.filter(({ run }) => run > MAX_LOGS_KEPT)
    if (old.length === 0) return
    for (const [table, kept] of [
      ['logs', MAX_LOGS_KEPT],
      ['attempts', MAX_ATTEMPTS_KEPT],
    ] as const)
      db.send(
        `DELETE FROM ${table} USING unnest($1::text[], $2::integer[]) AS old (id, run)
         WHERE ${table}.id = old.id AND ${table}.run <= old.run - ${kept}`,
        [old.map(({ id }) => id), old.map(({ run }) => run)],
      )
  }

  return {
    insert(all: readonly JobWithPayload[]): void {
      if (all.length === 0) return
      const columns = NEW.map((name) => column(all, (job) => stored(job, name)))
      db.send(INSERT, [...columns, all.map(({ payload }) => payload)])
      for (const job of all) ledger.added(job)
    },

    /** Locked until the transaction ends, in the order of their ids: no two nodes wait for each other. */
    lock: (ids: readonly string[]): Promise<Job[]> =>
      jobs(`SELECT ${COLUMNS} FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE`, [ids]),
    /** The same, and nothing is read. */
    hold: (ids: readonly string[]): void =>
      db.send('SELECT 1 FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE', [ids]),
    /** Which of them nobody has locked; they are locked, too. */
    free: async (ids: readonly string[]): Promise<string[]> => {
      const text = 'SELECT id FROM jobs WHERE id = ANY($1::text[]) FOR UPDATE SKIP LOCKED'
      return (await db.all<{ id: string }>(text, [ids])).map(({ id }) => id)
    },
    async get(id: string): Promise<Job | null> {
      return (await this.lock([id]))[0] ?? null
    },
    /** Without a lock. */
    async getWithPayload(id: string): Promise<JobWithPayload | null> {
      return (await withPayloads(`SELECT ${WITH_PAYLOAD} FROM jobs WHERE id = $1`, [id]))[0] ?? null
    },
    /** All jobs of a batch, without a lock, in the order of their ids. */
    ofBatch: (batch: string): Promise<JobWithPayload[]> =>
      withPayloads(`SELECT ${WITH_PAYLOAD} FROM jobs WHERE batch_id = $1 ORDER BY id`, [batch]),
    /** Those that `condition` finds, locked; what another node has locked is left to it. */
    take: (condition: string, values: readonly unknown[]): Promise<Job[]> =>
      jobs(`SELECT ${COLUMNS} FROM jobs WHERE ${condition} FOR UPDATE SKIP LOCKED`, values),

    /**
     * Takes each step and writes it, with what its run leaves in `attempts`. `locked`: nobody can have changed the jobs since
     * they were read; otherwise those that somebody did change are left as they are.
     */
    async apply<J extends Job>(moves: readonly Move<J>[], locked = true): Promise<Applied<J>> {
      const taken = moves.map(({ job, step, now }) => ({ before: job, step, after: transition(job, step, now, rules) }))
      const done = taken.filter((one): one is Taken<J> => one.after !== null)
      endRuns(done)
      const { moved, awaited } = await save(done, locked)
      return { after: taken.map(({ after }) => (after !== null && moved.has(after.id) ? after : null)), awaited }
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
      const all = <K extends keyof ProgressReport>(name: K) => reports.map((report) => report[name])
      return db.all(
        `UPDATE jobs SET progress = r.progress, progress_note = r.note, updated_at = r.at
         FROM unnest($1::text[], $2::integer[], $3::integer[], $4::text[], $5::bigint[]) AS r (id, run, progress, note, at)
         WHERE jobs.id = r.id AND jobs.run = r.run AND jobs.status = 'processing'
         RETURNING jobs.id, jobs.cancel_requested_at IS NOT NULL AS cancel`,
        [all('id'), all('run'), all('progress'), all('note'), all('at')],
      )
    },

    /** Jobs were claimed. */
    started(started: readonly Job[]): void {
      ledger.claimed()
      forgetOldRuns(started)
    },

    /** Final jobs are gone, with all that belongs to them alone. */
    remove(gone: readonly Job[]): void {
      if (gone.length === 0) return
      noteLeftovers(db, gone)
      const ids = gone.map(({ id }) => id)
      // The jobs first: who adds to one of them waits, and finds it gone.
      for (const table of ['jobs', 'attempts', 'logs', 'checkpoints', 'tags'])
        db.send(`DELETE FROM ${table} WHERE id = ANY($1::text[])`, [ids])
      db.send(`DELETE FROM keys WHERE id = ANY($1::text[]) AND kind = 'unique'`, [ids])
      for (const job of gone) ledger.removed(job)
    },
  }
}

const isOver = (job: Job | undefined) => job !== undefined && isFinal(job.status)

/** A job keeps the error of its last failed run; a run that did not fail has none. */
function runOf(run: Job, end: Job, asked: Pick<Step, 'verb'>) {
  const { updated_at, finished_at, reason, reason_detail } = end
  const outcome = ended(end, asked)
  const error = outcome === 'retry' || outcome === 'fail' ? stored(end, 'error') : null
  return { ...run, finished_at: finished_at ?? updated_at, reason, reason_detail, outcome, error }
}
