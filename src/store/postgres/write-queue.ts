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
  /** Those of these jobs that nobody has locked. */
  free(ids: readonly string[]): Promise<string[]>
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
  /** It is held up: since when, and how long it waits before the next try. */
  retry: { since: number; pause: number } | null
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

/** The writes of a transaction, and where it runs. */
export interface Next<L> {
  lane: L
  writes: Write<L>[]
}

export interface WriteQueue<L> {
  add(write: Write<L>): void
  /** What may begin now; null: nothing. */
  next(): Next<L> | null
  /** Those of this lane are over. */
  over(lane: L): void
  /** What could not be done in another lane comes next, in the first one, with nothing beside it. */
  putFirst(writes: readonly Write<L>[]): void
  /**
   * These met what somebody has locked: those of `locked` jobs, where some are; otherwise each half is tried next, until it
   * is known which of them it was. That one is tried again every now and then, between others, and those behind it that are
   * about the same job wait for it. Answers what was tried for too long.
   */
  conflicted(writes: readonly Write<L>[], locked: readonly string[]): Write<L>[]
  isEmpty(): boolean
}

/** Writes that share a transaction at the most. */
const MOST = 1_000
/** With fewer jobs than this a second transaction costs more than waiting for the first one does. */
const WORTH_A_LANE = 100
/** Between the first two tries of a write that is held up, then twice as long each time, up to the longest. */
const PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000

/** `patience`: milliseconds for which a write is tried again; `wake` is called when one is due. */
export function createWriteQueue<L extends Lane>(
  /** Without the others all goes through the first. */
  [first, ...others]: readonly [L, ...L[]],
  patience: number,
  wake: () => void,
): WriteQueue<L> {
  let queue: Write<L>[] = []
  /** Transactions that come first. */
  const parts: Write<L>[][] = []
  /** When each is tried again; in the order in which they were asked for, as far as they are about the same job. */
  let held: { write: Write<L>; due: number }[] = []
  let heldWasLast = false
  let timer: NodeJS.Timeout | undefined
  /** The lanes in use, and whether each is to be the only one. */
  const busy = new Map<L, boolean>()

  function take(lane: L, writes: Write<L>[]): Next<L> {
    const exclusive = writes.some(({ jobs }) => jobs === null)
    busy.set(lane, exclusive)
    return { lane, writes }
  }

  /** Without those that are behind one that is held up. */
  function sift(writes: Write<L>[]): Write<L>[] {
    if (held.length === 0) return writes
    const waiting = new Set(held.flatMap(({ write }) => write.ids))
    const now = performance.now()
    return writes.filter((write) => {
      const behind = write.ids.some((id) => waiting.has(id))
      if (!behind) return true
      for (const id of write.ids) waiting.add(id)
      held.push({ write: { ...alone(write), retry: write.retry ?? { since: now, pause: PAUSE_MS } }, due: now })
      return false
    })
  }

  /** The first of those that are due, or null: then it is looked again when one is. */
  function dueOne(): Write<L> | null {
    const now = performance.now()
    const before = new Set<string>()
    let earliest = Number.POSITIVE_INFINITY
    for (const { write, due } of held) {
      const free = !write.ids.some((id) => before.has(id))
      if (free && due <= now) return write
      if (free) earliest = Math.min(earliest, due)
      for (const id of write.ids) before.add(id)
    }
    clearTimeout(timer)
    if (held.length > 0) timer = setTimeout(wake, Math.ceil(earliest - now))
    return null
  }

  function nextPart(): Next<L> | null {
    while (busy.size === 0 && parts.length > 0) {
      const some = sift(parts.shift() ?? [])
      if (some.length > 0) return take(first, some)
    }
    return null
  }

  function nextHeld(write: Write<L>): Next<L> | null {
    if (busy.size > 0) return null
    held = held.filter((one) => one.write !== write)
    heldWasLast = true
    return take(first, [write])
  }

  /** In their order; what is exclusive runs in the first lane, as nothing else does. */
  function nextWaiting(): Next<L> | null {
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

  /** False: it was tried for too long. */
  function holdUp(write: Write<L>): boolean {
    const now = performance.now()
    const { since, pause } = write.retry ?? { since: now, pause: PAUSE_MS }
    if (now - since >= patience) return false
    const retry = { since, pause: Math.min(2 * pause, LONGEST_PAUSE_MS) }
    held.unshift({ write: { ...write, retry }, due: now + pause })
    return true
  }

  return {
    add: (write) => void queue.push(write),
    next() {
      if ([...busy.values()].some((exclusive) => exclusive)) return null
      if (parts.length > 0) {
        const part = nextPart()
        if (part !== null || parts.length > 0) return part
      }
      queue = sift(queue)
      const one = dueOne()
      if (one !== null && (queue.length === 0 || !heldWasLast)) return nextHeld(one)
      if (queue.length === 0) return null
      const next = nextWaiting()
      if (next !== null) heldWasLast = false
      return next
    },
    over: (lane) => void busy.delete(lane),
    putFirst: (writes) => void parts.unshift(writes.map(alone)),
    conflicted(writes, locked) {
      const all = writes.map(alone)
      const stuck = all.length === 1 ? all : all.filter(({ ids }) => ids.some((id) => locked.includes(id)))
      const rest = all.filter((write) => !stuck.includes(write))
      const middle = stuck.length > 0 ? rest.length : Math.ceil(rest.length / 2)
      parts.unshift(rest.slice(0, middle), rest.slice(middle))
      // The first one comes to stand before all others.
      return stuck.toReversed().filter((write) => !holdUp(write))
    },
    isEmpty: () => queue.length === 0 && parts.length === 0 && held.length === 0,
  }
}

/** As one that has the store for itself. */
const alone = <L>(write: Write<L>): Write<L> => ({ ...write, kind: null, jobs: null })

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
