// Which writes form the next transaction, and in which lane: all that wait, or a part of them where a second lane pays.
import type { Connection } from './connection.js'

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

/** What is written at the end of a transaction for all that it did. */
export interface Ledger {
  /** Sends it. */
  flush(): void
  /** Forgets what came since `mark()`; without a mark all of it. */
  forget(mark?: unknown): void
  mark(): unknown
}

/**
 * What is done at once for all that ask for it, and needs nothing from what is written at the same moment: it may run in any
 * lane beside others of its kind, and be answered before those that came first. Answers are in the order of the inputs.
 */
export interface Kind<L, I, O> {
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

export interface Write<L> {
  /** Null: it has the store for itself. */
  kind: Kind<L, unknown, unknown> | null
  work: Kind<L, unknown, unknown>['work']
  input: unknown
  /** How many jobs it is about, where others of its kind may be written beside it. */
  jobs: number | null
  ids: readonly string[]
  /** It has a transaction of its own. */
  single: boolean
  /** Since when it is tried again, or null. */
  since: number | null
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

export interface WriteQueue<L> {
  add(write: Write<L>): void
  /** The writes that may begin now, and where; null: none. */
  next(): { lane: L; writes: Write<L>[] } | null
  /** Those of this lane are over. */
  over(lane: L): void
  /** What could not be done in another lane comes next, in the first one, with nothing beside it. */
  first(writes: readonly Write<L>[]): void
  /**
   * Somebody has locked what these need: each is tried again alone, and between two of them others are written. Answers those
   * of all such writes whose time is over.
   */
  again(writes: readonly Write<L>[]): Write<L>[]
  isEmpty(): boolean
}

/** Writes that share a transaction at the most. */
const MOST = 1_000
/** With fewer jobs than this a second transaction costs more than waiting for the first one does. */
const WORTH_A_LANE = 100

/** `patience`: milliseconds for which a write is tried again. */
export function createWriteQueue<L extends Lane>(
  /** Without the others all goes through the first. */
  [first, ...others]: readonly [L, ...L[]],
  patience: number,
): WriteQueue<L> {
  const queue: Write<L>[] = []
  /** Those that met a lock. */
  let held: Write<L>[] = []
  let heldWasLast = false
  /** The lanes in use, and whether each is to be the only one. */
  const busy = new Map<L, boolean>()

  function take(lane: L, writes: Write<L>[]) {
    busy.set(
      lane,
      writes.some(({ jobs }) => jobs === null),
    )
    return { lane, writes }
  }

  function nextHeld() {
    const one = busy.size === 0 ? held.shift() : undefined
    if (one === undefined) return null
    heldWasLast = true
    return take(first, [one])
  }

  /** In their order; what is exclusive runs in the first lane, as nothing else does. */
  function nextWaiting() {
    const group = queue.slice(0, groupSize())
    const end = group.findIndex(({ jobs }) => jobs === null)
    if (busy.size === 0 && end >= 0) return take(first, queue.splice(0, group.length))
    const shared = end < 0 ? group : group.slice(0, end)
    const all = countJobs(shared)
    if (all < WORTH_A_LANE && busy.size > 0) return null
    const free = [first, ...(all < WORTH_A_LANE ? [] : others.filter(({ db }) => db.ready()))]
    const [lane, another] = free.filter((lane) => !busy.has(lane))
    if (lane === undefined) return null
    return take(lane, queue.splice(0, another === undefined ? shared.length : half(shared, all)))
  }

  function groupSize(): number {
    const single = queue.findIndex(({ single }) => single)
    return single === 0 ? 1 : Math.min(MOST, single < 0 ? queue.length : single)
  }

  return {
    add: (write) => void queue.push(write),
    next() {
      if ([...busy.values()].some((exclusive) => exclusive)) return null
      if (held.length > 0 && (queue.length === 0 || !heldWasLast)) return nextHeld()
      if (queue.length === 0) return null
      const next = nextWaiting()
      if (next !== null) heldWasLast = false
      return next
    },
    over: (lane) => void busy.delete(lane),
    first: (writes) => void queue.unshift(...writes.map((write) => ({ ...write, kind: null, jobs: null }))),
    again(writes) {
      const now = performance.now()
      const isOver = ({ since }: Write<L>) => since !== null && now - since >= patience
      held.push(
        ...writes.map((write) => ({ ...write, kind: null, jobs: null, single: true, since: write.since ?? now })),
      )
      const over = held.filter(isOver)
      held = held.filter((write) => !isOver(write))
      return over
    },
    isEmpty: () => queue.length === 0 && held.length === 0,
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
