// Group commit: all writes of one turn of the event loop, and those that came while the last ones were written, share one
// transaction. Of claims and ends of runs, where there are many, two transactions are under way at once.
import { ServiceError } from '../../errors.js'
import type { Connection } from './connection.js'
import { asServiceError, isConflict, isOwnFault, isRefusal } from './refusals.js'

/** Where a transaction runs: a connection, and what counts the changes of its transaction. */
export interface Lane {
  db: Connection
  ledger: Ledger
  /** Writes what is left to write once all writes of a transaction are done. */
  finish(): Promise<void>
  /** Forgets what that would be. */
  forget(): void
  /** Locks the rows of these jobs, in one order. */
  lock(ids: readonly string[]): void
}

/**
 * What is done at once for all that ask for it, and needs nothing from what is written at the same moment: it may run in any
 * lane beside others of its kind, and be answered before those that came first. Answers are in the order of the inputs.
 */
interface Kind<L, I, O> {
  /** How many jobs an input is about. */
  jobsOf(input: I): number
  /** Which of them it waits for, where somebody else has them locked. */
  idsOf?(input: I): readonly string[]
  /** One statement after the other, each with the answers of those before. */
  work(lane: L, inputs: I[]): Promise<O[]>
  /**
   * The same without waiting for an answer: the COMMIT goes out with it. Where something is not as it is nearly always, a
   * statement fails, nothing has happened, and `work` is done instead. Null, and nothing is sent: this is for `work`.
   */
  atOnce?(lane: L, inputs: I[]): Promise<O[]> | O[] | null
}

interface Locks {
  /** Of the jobs that it waits for, where somebody else has them locked. */
  ids?: readonly string[]
  /** It locks others as well, many in one order, and has a transaction of its own. */
  single?: boolean
}

interface Write<L> {
  /** Null: it has the store for itself. */
  kind: Kind<L, unknown, unknown> | null
  work: Kind<L, unknown, unknown>['work']
  input: unknown
  /** How many jobs it is about, where others of its kind may be written beside it. */
  jobs: number | null
  ids: readonly string[]
  /** It has a transaction of its own. */
  single: boolean
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

export interface GroupCommit<L extends Lane> {
  /**
   * Runs `work` inside the next transaction and resolves with what it returned once that is on disk. `work` may be run
   * again, so it leaves nothing behind but rows. One that throws fails alone. A ServiceError that it returns is a refusal
   * and rejects; answers come in the order of the writes.
   */
  write<T>(work: () => Promise<T | ServiceError>, locks?: Locks): Promise<Exclude<T, ServiceError>>
  /** The same for what may be written beside others. In a transaction of such writes alone, what was begun first goes first. */
  beside<I, O>(kind: Kind<L, I, O>): (input: I) => Promise<O>
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

const TRIES = 10
/** Writes that share a transaction at the most. */
const MOST = 1_000
/** With fewer jobs than this a second transaction costs more than waiting for the first one does. */
const WORTH_A_LANE = 100
/** Transactions without `atOnce` after one in which it failed: jobs of a kind come together. */
const CAREFUL = 30

/** The next one is for what the one before could not write; alone, each write has a savepoint of its own. */
type Way = 'at once' | 'step by step' | 'alone'

type Result = { value: unknown } | { error: unknown }

export function createGroupCommit<L extends Lane>(
  /** Without the others all goes through the first. */
  [first, ...others]: readonly [L, ...L[]],
  onCommit: (writes: number, ms: number) => void,
): GroupCommit<L> {
  const queue: Write<L>[] = []
  /** The transactions under way. */
  const busy = new Map<L, { exclusive: boolean; done: Promise<void> }>()
  let called = false
  const kinds: Kind<L, unknown, unknown>[] = []
  /** Transactions that are still to be written without `atOnce`. */
  let careful = 0

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
    for (let some = next(); some !== null; some = next()) {
      const { lane, writes } = some
      const done = flush(lane, writes).finally(() => {
        busy.delete(lane)
        begin()
      })
      busy.set(lane, { exclusive: writes.some(({ jobs }) => jobs === null), done })
    }
  }

  /** The writes that may begin now, in their order, and where. What is exclusive runs in the first lane, as nothing else does. */
  function next(): { lane: L; writes: Write<L>[] } | null {
    if (queue.length === 0 || [...busy.values()].some(({ exclusive }) => exclusive)) return null
    const group = queue.slice(0, groupSize())
    const end = group.findIndex(({ jobs }) => jobs === null)
    if (busy.size === 0 && end >= 0) return { lane: first, writes: queue.splice(0, group.length) }
    const shared = end < 0 ? group : group.slice(0, end)
    const all = countJobs(shared)
    if (all < WORTH_A_LANE && busy.size > 0) return null
    const free = [first, ...(all < WORTH_A_LANE ? [] : others.filter(({ db }) => db.ready()))]
    const [lane, another] = free.filter((lane) => !busy.has(lane))
    if (lane === undefined) return null
    return { lane, writes: queue.splice(0, another === undefined ? shared.length : half(shared, all)) }
  }

  function groupSize(): number {
    const single = queue.findIndex(({ single }) => single)
    return single === 0 ? 1 : Math.min(MOST, single < 0 ? queue.length : single)
  }

  async function flush(lane: L, writes: Write<L>[]): Promise<void> {
    const { db, ledger } = lane
    const begun = performance.now()
    const shared = writes.every(({ kind }) => kind !== null)
    if (shared) writes.sort((a, b) => placeOf(a) - placeOf(b))
    let way: Way = shared && careful === 0 ? 'at once' : 'step by step'
    careful = Math.max(0, careful - 1)
    for (let tries = 1; ; tries += 1) {
      const sent = { commit: false }
      try {
        const results = await inTransaction(lane, writes, way, sent)
        onCommit(writes.length, performance.now() - begun)
        return answer(writes, results)
      } catch (error) {
        ledger.forget()
        await db.rollback()
        // A COMMIT behind a statement that the server has refused does nothing.
        const open = sent.commit && !isRefusal(error)
        if (way === 'at once') careful = CAREFUL
        // Whatever is in its way there, the first lane decides; nothing is beside them then.
        if (lane !== first && !open) {
          queue.unshift(...writes.map((write) => ({ ...write, kind: null, jobs: null })))
          return
        }
        // Each takes its locks in one order; one after the other they may meet those of another node in any order.
        if (!open && writes.length > 1 && isConflict(error)) {
          queue.unshift(...writes.map((write) => ({ ...write, kind: null, jobs: null, single: true })))
          return
        }
        const another: Way | null = open ? null : nextWay(way, error, tries)
        if (another === null) return refuse(writes, error, open)
        way = another
      }
    }
  }

  /** Null: there is none, it is refused. */
  function nextWay(way: Way, error: unknown, tries: number): Way | null {
    const again = isConflict(error) && tries < TRIES
    if (way === 'at once') return again || isOwnFault(error) ? 'step by step' : null
    if (again) return way
    return way === 'alone' || !isOwnFault(error) ? null : 'alone'
  }

  const placeOf = ({ kind }: Write<L>) => (kind === null ? -1 : kinds.indexOf(kind))

  /** Only when a write throws is the whole group run again, each in a savepoint of its own. */
  async function inTransaction(lane: L, writes: Write<L>[], way: Way, sent: { commit: boolean }): Promise<Result[]> {
    const { db, ledger } = lane
    ledger.forget()
    lane.forget()
    await db.begin()
    const answers: (Result[] | Promise<Result[]>)[] = []
    const groups = alike(writes, way)
    // What one after the other would lock in any order is locked in one: no two nodes wait for each other.
    const locking = groups.filter(({ ids }) => ids.length > 0)
    if (locking.length > 1) lane.lock(locking.flatMap(({ ids }) => ids))
    for (const { kind, work, inputs } of groups) {
      const atOnce = way === 'at once' ? kind?.atOnce?.(lane, inputs) : null
      if (atOnce != null) answers.push(asResults(atOnce))
      else if (way === 'alone') answers.push([await runAlone(lane, () => work(lane, inputs))])
      else answers.push(await asResults(work(lane, inputs)))
    }
    await lane.finish()
    ledger.flush()
    sent.commit = true
    // What fails first is why the rest of it does.
    for (const outcome of await Promise.allSettled([...answers, db.commit()]))
      if (outcome.status === 'rejected') throw outcome.reason
    return (await Promise.all(answers)).flat()
  }

  async function runAlone(lane: L, work: () => Promise<unknown[]>): Promise<Result> {
    const { db, ledger } = lane
    const mark = ledger.mark()
    try {
      const [value] = await db.alone(async () => {
        const values = await work()
        await lane.finish()
        return values
      })
      return { value }
    } catch (error) {
      if (!isOwnFault(error)) throw error
      ledger.forget(mark)
      lane.forget()
      return { error }
    }
  }

  function enqueue(write: Omit<Write<L>, 'resolve' | 'reject'>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      queue.push({ ...write, resolve, reject })
      call()
    })
  }

  return {
    write: <T>(work: () => Promise<T | ServiceError>, { ids = [], single = false }: Locks = {}) => {
      const write = { kind: null, work: async () => [await work()], input: null, jobs: null, ids, single }
      return enqueue(write) as Promise<Exclude<T, ServiceError>>
    },
    beside<I, O>(of: Kind<L, I, O>) {
      const kind = of as unknown as Kind<L, unknown, unknown>
      kinds.push(kind)
      return (input: I) => {
        const [jobs, ids] = [of.jobsOf(input), of.idsOf?.(input) ?? []]
        return enqueue({ kind, work: kind.work, input, jobs, ids, single: false }) as Promise<O>
      }
    },
    drain: async () => {
      while (busy.size > 0 || queue.length > 0)
        await (busy.size > 0 ? Promise.all([...busy.values()].map(({ done }) => done)) : new Promise(setImmediate))
    },
  }
}

const countJobs = (writes: readonly Write<never>[]) => writes.reduce((sum, { jobs }) => sum + (jobs ?? 0), 0)

/** How many of the writes have half of the jobs; all of them where the rest would not be worth a lane. */
function half(writes: readonly Write<never>[], all: number): number {
  let jobs = 0
  const last = writes.findIndex((write) => {
    jobs += write.jobs ?? 0
    return jobs >= all / 2
  })
  return last < 0 || jobs < WORTH_A_LANE || all - jobs < WORTH_A_LANE ? writes.length : last + 1
}

/** Neighbours that ask for the same work. */
function alike<L>(writes: Write<L>[], way: Way) {
  const groups: (Pick<Write<L>, 'kind' | 'work'> & { inputs: unknown[]; ids: string[] })[] = []
  for (const { kind, work, input, ids } of writes) {
    const last = groups.at(-1)
    if (way === 'alone' || last?.work !== work) groups.push({ kind, work, inputs: [input], ids: [...ids] })
    else {
      last.inputs.push(input)
      last.ids.push(...ids)
    }
  }
  return groups
}

function asResults(values: Promise<unknown[]> | unknown[]): Promise<Result[]> {
  const results = Promise.resolve(values).then((all) => all.map((value) => ({ value })))
  // Looked at when all is sent.
  results.catch(() => {})
  return results
}

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
