// Group commit: all writes of one turn of the event loop, and those that came while the last ones were written, share one
// transaction. Of claims and ends of runs, where there are many, two transactions are under way at once.
import { setTimeout as sleep } from 'node:timers/promises'
import { ServiceError } from '../../errors.js'
import { asServiceError, isConflict, isOwnFault, isRefusal } from './refusals.js'
import { createWriteQueue, type Kind, type Lane, type Next, type Write } from './write-queue.js'

interface Locks {
  /** Of the jobs that it is about, and waits for where somebody else has them locked. */
  ids?: readonly string[]
  /** It locks others as well, many in one order, and has a transaction of its own. */
  single?: boolean
}

export interface GroupCommit<L extends Lane> {
  /**
   * Runs `work` inside the next transaction and resolves with what it returned once that is on disk. `work` may be run
   * again, so it leaves nothing behind but rows. One that throws fails alone. A ServiceError that it returns is a refusal
   * and rejects. Answers come in the order of the writes, where nobody has locked what one of them needs; those about the
   * same job keep their order all the same.
   */
  write<T>(work: () => Promise<T | ServiceError>, locks?: Locks): Promise<Exclude<T, ServiceError>>
  /** The same for what may be written beside others. In a transaction of such writes alone, what was begun first goes first. */
  beside<I, O>(kind: Kind<L, I, O>): (input: I) => Promise<O>
  /** Resolves when everything written before has been answered. */
  drain(): Promise<void>
}

/** Transactions without `atOnce` after one in which it failed: jobs of a kind come together. */
const CAREFUL = 30
/** Who drains looks this often at what is held up. */
const DRAIN_MS = 5

/** Alone, each write has a savepoint of its own. */
type Way = 'at once' | 'step by step' | 'alone'
/** For what one could not write; null: it is refused. */
const NEXT_WAY: Record<Way, Way | null> = { 'at once': 'step by step', 'step by step': 'alone', alone: null }

type Result = { value: unknown } | { error: unknown }

/** `patience`: milliseconds for which a write is tried again that meets what somebody else has locked. */
export function createGroupCommit<L extends Lane>(
  lanes: readonly [L, ...L[]],
  patience: number,
  onCommit: (writes: number, ms: number) => void,
): GroupCommit<L> {
  const queue = createWriteQueue(lanes, patience, begin)
  const underWay = new Set<Promise<void>>()
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
    for (let some = queue.next(); some !== null; some = queue.next()) {
      const { lane } = some
      const done = flush(some).finally(() => {
        underWay.delete(done)
        queue.over(lane)
        begin()
      })
      underWay.add(done)
    }
  }

  async function flush(next: Next<L>): Promise<void> {
    const { lane, writes } = next
    const { db, ledger } = lane
    const begun = performance.now()
    const shared = writes.every(({ kind }) => kind !== null)
    if (shared) writes.sort((a, b) => placeOf(a) - placeOf(b))
    let way: Way = shared && careful === 0 ? 'at once' : 'step by step'
    careful = Math.max(0, careful - 1)
    for (;;) {
      const sent = { commit: false }
      try {
        const results = await inTransaction(next, way, sent)
        onCommit(writes.length, performance.now() - begun)
        return answer(writes, results)
      } catch (error) {
        ledger.forget()
        await db.rollback()
        // A COMMIT behind a statement that the server has refused does nothing.
        const open = sent.commit && !isRefusal(error)
        if (way === 'at once') careful = CAREFUL
        // Whatever is in its way there, the first lane decides.
        if (lane !== lanes[0] && !open) return queue.putFirst(writes)
        if (!open && isConflict(error)) return refuse(queue.conflicted(writes, await lockedOf(next)), error, open)
        const another: Way | null = open || !isOwnFault(error) ? null : NEXT_WAY[way]
        if (another === null) return refuse(writes, error, open)
        way = another
      }
    }
  }

  /** Which of the jobs that these are about somebody has locked, where it matters. */
  async function lockedOf({ lane, writes }: Next<L>): Promise<string[]> {
    const ids = writes.flatMap(({ ids }) => ids)
    if (writes.length === 1 || ids.length === 0) return []
    try {
      await lane.db.begin()
      const free = new Set(await lane.free(ids))
      return ids.filter((id) => !free.has(id))
    } catch {
      // Then it is found out by trying.
      return []
    } finally {
      await lane.db.rollback()
    }
  }

  const placeOf = ({ kind }: Write<L>) => (kind === null ? -1 : kinds.indexOf(kind))

  /** Only when a write throws is the whole group run again, each in a savepoint of its own. */
  async function inTransaction({ lane, writes }: Next<L>, way: Way, sent: { commit: boolean }): Promise<Result[]> {
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

  function enqueue(write: Omit<Write<L>, 'retry' | 'resolve' | 'reject'>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      queue.add({ ...write, retry: null, resolve, reject })
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
      while (underWay.size > 0 || !queue.isEmpty()) await (underWay.size > 0 ? Promise.all(underWay) : sleep(DRAIN_MS))
    },
  }
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
