// Group commit: all writes of one turn of the event loop, and those that came while the last ones were written, share one transaction.
import pg from 'pg'
import { ServiceError } from '../../errors.js'
import { away, type Connection, codeOf, isLost } from './connection.js'

/** Answers in the order of the inputs. */
type Work = (inputs: unknown[]) => Promise<unknown[]>

interface Write {
  work: Work
  input: unknown
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

export interface GroupCommit {
  /**
   * Runs `work` inside the next transaction and resolves with what it returned once that is on disk. `work` may be run
   * again, so it leaves nothing behind but rows. One that throws fails alone. A ServiceError that it returns is a refusal
   * and rejects; answers come in the order of the writes.
   */
  write<T>(work: () => Promise<T | ServiceError>): Promise<Exclude<T, ServiceError>>
  /** The same for what is done at once for all that ask for it one after the other. */
  together<I, O>(work: (inputs: I[]) => Promise<O[]>): (input: I) => Promise<O>
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

type Result = { value: unknown } | { error: unknown }

export function createGroupCommit(
  db: Connection,
  ledger: Ledger,
  onCommit: (writes: number, ms: number) => void,
): GroupCommit {
  const queue: Write[] = []
  let flushing: Promise<void> | null = null

  async function flushAll(): Promise<void> {
    // What else this turn of the event loop asks for goes along.
    await new Promise((next) => setImmediate(next))
    while (queue.length > 0) await flush(queue.splice(0, MOST))
    flushing = null
  }

  async function flush(writes: Write[]): Promise<void> {
    const begun = performance.now()
    let alone = false
    for (let tries = 1; ; tries += 1) {
      const sent = { commit: false }
      try {
        const results = await inTransaction(writes, alone, sent)
        onCommit(writes.length, performance.now() - begun)
        return answer(writes, results)
      } catch (error) {
        ledger.forget()
        await db.rollback()
        const again = CONFLICTS.includes(codeOf(error)) && tries < TRIES
        if (!again && (alone || !isOwnFault(error))) return refuse(writes, error, sent.commit)
        alone ||= !again
      }
    }
  }

  /** The common case costs no savepoints: only when a write throws is the whole group run again, each in its own. */
  async function inTransaction(writes: Write[], alone: boolean, sent: { commit: boolean }): Promise<Result[]> {
    ledger.forget()
    await db.begin()
    const results: Result[] = []
    for (const { work, inputs } of alike(writes, alone)) {
      if (alone) results.push(await runAlone(() => work(inputs)))
      else results.push(...(await work(inputs)).map((value) => ({ value })))
    }
    ledger.flush()
    sent.commit = true
    await db.commit()
    return results
  }

  async function runAlone(work: () => Promise<unknown[]>): Promise<Result> {
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

  function enqueue(work: Work, input: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      queue.push({ work, input, resolve, reject })
      flushing ??= flushAll()
    })
  }

  return {
    write: <T>(work: () => Promise<T | ServiceError>) =>
      enqueue(async () => [await work()], null) as Promise<Exclude<T, ServiceError>>,
    together: <I, O>(work: (inputs: I[]) => Promise<O[]>) => {
      return (input: I) => enqueue(work as Work, input) as Promise<O>
    },
    drain: async () => {
      while (flushing !== null) await flushing
    },
  }
}

/** Neighbours that ask for the same work. */
function alike(writes: Write[], alone: boolean): { work: Work; inputs: unknown[] }[] {
  const groups: { work: Work; inputs: unknown[] }[] = []
  for (const { work, input } of writes) {
    const last = groups.at(-1)
    if (!alone && last?.work === work) last.inputs.push(input)
    else groups.push({ work, inputs: [input] })
  }
  return groups
}

function answer(writes: Write[], results: Result[]): void {
  writes.forEach(({ resolve, reject }, i) => {
    const result = results[i] as Result
    if ('error' in result) reject(result.error)
    else if (result.value instanceof ServiceError) reject(result.value)
    else resolve(result.value)
  })
}

function refuse(writes: Write[], error: unknown, committing: boolean): void {
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
