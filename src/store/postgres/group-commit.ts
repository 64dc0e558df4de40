// Group commit: all writes of one turn of the event loop, and those that came while the last ones were written, share one
// transaction. Of claims and ends of runs, where there are many, two transactions are under way at once.
import pg from 'pg'
import { ServiceError } from '../../errors.js'
import { away, type Connection, codeOf, isLost } from './connection.js'

/** Where a transaction runs: a connection, and what counts the changes of its transaction. */
export interface Lane {
  db: Connection
  ledger: Ledger
}

/** Answers in the order of the inputs. */
type Work<L> = (lane: L, inputs: unknown[]) => Promise<unknown[]>

interface Write<L> {
  work: Work<L>
  input: unknown
  /** How much work it is, where others like it may be written beside it; null: it has the store for itself. */
  jobs: number | null
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

export interface GroupCommit<L extends Lane> {
  /**
   * Runs `work` inside the next transaction and resolves with what it returned once that is on disk. `work` may be run
   * again, so it leaves nothing behind but rows. One that throws fails alone. A ServiceError that it returns is a refusal
   * and rejects; answers come in the order of the writes.
   */
  write<T>(work: () => Promise<T | ServiceError>): Promise<Exclude<T, ServiceError>>
  /**
   * The same for what is done at once for all that ask for it one after the other, and needs nothing from what is written
   * at the same moment: it may run in any lane, beside others of `beside`. `jobsOf` says how many jobs an input is about.
   */
  beside<I, O>(work: (lane: L, inputs: I[]) => Promise<O[]>, jobsOf: (input: I) => number): (input: I) => Promise<O>
  /** Resolves when everything written before has been answered. */
  drain(): Promise<void>
}

/** What is written at the end of a transaction for all that it did. */
export interface Ledger {
  /** Sends it. */
  flush(): void
  /** Forgets what came since `mark()`; without a mark all of it. */
  forget(mark?: unknown): void
  mark(): unknown
}

/** Two nodes that wait for each other's rows: one is told, and tries again. */
const CONFLICTS = ['40001', '40P01', '55P03']
const TRIES = 10
/** Writes that share a transaction at the most. */
const MOST = 1_000
/** With fewer jobs than this a second transaction costs more than waiting for the first one does. */
const WORTH_A_LANE = 8
/** A lane whose connection broke is left alone for so long. */
const REST_MS = 5_000

type Result = { value: unknown } | { error: unknown }

export function createGroupCommit<L extends Lane>(
  /** What is not `beside` runs in the first one. */
  lanes: readonly [L, ...L[]],
  onCommit: (writes: number, ms: number) => void,
): GroupCommit<L> {
  const queue: Write<L>[] = []
  /** The transactions under way, and whether others may run beside them. */
  const busy = new Map<L, { alone: boolean; done: Promise<void> }>()
  const resting = new Map<L, number>()
  let called = false

  /** What else this turn of the event loop asks for goes along. */
  function call(): void {
    if (called) return
    called = true
    setImmediate(() => {
      called = false
      begin()
    })
  }

  function begin(): void {
    for (let writes = next(); writes.length > 0; writes = next()) {
      const lane = lanes.find(isFree) as L
      const done = flush(lane, writes).finally(() => {
        busy.delete(lane)
        begin()
      })
      busy.set(lane, { alone: writes.some(({ jobs }) => jobs === null), done })
    }
  }

  /** The writes that may begin now, in their order. */
  function next(): Write<L>[] {
    const free = lanes.filter(isFree)
    const first = queue.findIndex(({ jobs }) => jobs === null)
    const most = Math.min(first < 0 ? queue.length : first, MOST)
    if (busy.size === 0 && most < Math.min(queue.length, MOST)) return queue.splice(0, MOST)
    if (free.length === 0 || [...busy.values()].some(({ alone }) => alone)) return []
    const beside = queue.slice(0, most)
    const all = beside.reduce((sum, { jobs }) => sum + Number(jobs), 0)
    if (busy.size > 0 && all < WORTH_A_LANE) return []
    return queue.splice(0, free.length > 1 ? half(beside, all) : most)
  }

  const isFree = (lane: L) => !busy.has(lane) && (resting.get(lane) ?? 0) <= performance.now()

  async function flush(lane: L, writes: Write<L>[]): Promise<void> {
    const { db, ledger } = lane
    const begun = performance.now()
    let alone = false
    for (let tries = 1; ; tries += 1) {
      const sent = { commit: false }
      try {
        const results = await inTransaction(lane, writes, alone, sent)
        onCommit(writes.length, performance.now() - begun)
        return answer(writes, results)
      } catch (error) {
        ledger.forget()
        await db.rollback()
        // The server may have no connection left for a second lane.
        if (lane !== lanes[0] && !sent.commit && isAway(error)) {
          resting.set(lane, performance.now() + REST_MS)
          queue.unshift(...writes)
          return
        }
        const again = CONFLICTS.includes(codeOf(error)) && tries < TRIES
        if (!again && (alone || !isOwnFault(error))) return refuse(writes, error, sent.commit)
        alone ||= !again
      }
    }
  }

  /** The common case costs no savepoints: only when a write throws is the whole group run again, each in its own. */
  async function inTransaction(
    lane: L,
    writes: Write<L>[],
    alone: boolean,
    sent: { commit: boolean },
  ): Promise<Result[]> {
    const { db, ledger } = lane
    ledger.forget()
    await db.begin()
    const results: Result[] = []
    for (const { work, inputs } of alike(writes, alone)) {
      if (alone) results.push(await runAlone(lane, () => work(lane, inputs)))
      else results.push(...(await work(lane, inputs)).map((value) => ({ value })))
    }
    ledger.flush()
    sent.commit = true
    await db.commit()
    return results
  }

  async function runAlone({ db, ledger }: L, work: () => Promise<unknown[]>): Promise<Result> {
    const mark = ledger.mark()
    try {
      const [value] = await db.alone(work)
      return { value }
    } catch (error) {
      if (!isOwnFault(error)) throw error
      ledger.forget(mark)
      return { error }
    }
  }

  function enqueue(work: Work<L>, input: unknown, jobs: number | null): Promise<unknown> {
    return new Promise((resolve, reject) => {
      queue.push({ work, input, jobs, resolve, reject })
      call()
    })
  }

  return {
    write: <T>(work: () => Promise<T | ServiceError>) =>
      enqueue(async () => [await work()], null, null) as Promise<Exclude<T, ServiceError>>,
    beside: <I, O>(work: (lane: L, inputs: I[]) => Promise<O[]>, jobsOf: (input: I) => number) => {
      return (input: I) => enqueue(work as Work<L>, input, jobsOf(input)) as Promise<O>
    },
    drain: async () => {
      while (busy.size > 0 || queue.length > 0)
        await (busy.size > 0 ? Promise.all([...busy.values()].map(({ done }) => done)) : new Promise(setImmediate))
    },
  }
}

/** How many of the writes have half of the jobs of `all`; all of them where that would not be worth a lane. */
function half(writes: readonly Write<never>[], all: number): number {
  let jobs = 0
  const last = writes.findIndex((write) => {
    jobs += Number(write.jobs)
    return jobs >= Math.max(all / 2, WORTH_A_LANE)
  })
  return last < 0 ? writes.length : last + 1
}

/** Neighbours that ask for the same work. */
function alike<L>(writes: Write<L>[], alone: boolean): { work: Work<L>; inputs: unknown[] }[] {
  const groups: { work: Work<L>; inputs: unknown[] }[] = []
  for (const { work, input } of writes) {
    const last = groups.at(-1)
    if (!alone && last?.work === work) last.inputs.push(input)
    else groups.push({ work, inputs: [input] })
  }
  return groups
}

const isAway = (error: unknown) => error instanceof ServiceError || isLost(error)

function answer(writes: Write<never>[], results: Result[]): void {
  writes.forEach(({ resolve, reject }, i) => {
    const result = results[i] as Result
    if ('error' in result) reject(result.error)
    else if (result.value instanceof ServiceError) reject(result.value)
    else resolve(result.value)
  })
}

function refuse(writes: Write<never>[], error: unknown, committing: boolean): void {
  const refusal = asServiceError(error, committing)
  for (const { reject } of writes) reject(refusal)
}

/** What is wrong with one write and no other: a value that does not fit (class 22), a rule of a table (23), or our own code. */
function isOwnFault(error: unknown): boolean {
  if (error instanceof ServiceError || isLost(error)) return false
  return !(error instanceof pg.DatabaseError) || /^(22|23|54)/.test(codeOf(error))
}

export function asServiceError(error: unknown, committing: boolean): unknown {
  if (error instanceof ServiceError) return error
  const code = codeOf(error)
  if (/^53(000|100|200)$/.test(code)) return new ServiceError('storage_full', 'the database has no space left')
  if (committing && isLost(error))
    return new ServiceError('outcome_unknown', 'the connection broke while the database was committing')
  if (isLost(error)) return away(error instanceof Error ? error.message : String(error))
  if (CONFLICTS.includes(code) || code === '57014')
    return new ServiceError('store_busy', `the database did not get to it in time (${code})`)
  // What the server refuses for a reason of its own, such as a right that is missing, it takes when that is over.
  if (error instanceof pg.DatabaseError && !isOwnFault(error))
    return new ServiceError('store_busy', `the database refuses it (${code}: ${error.message})`)
  return error
}
