// What the parts of the suite share: one store on an empty database, jobs to put in, ways to run and to crash.
import { v7 } from 'uuid'
import { expect, onTestFinished } from 'vitest'
import type { DigestRules } from '../../../src/digests/events.js'
import type { ErrorRecord } from '../../../src/errors.js'
import { isFinal, type Job, type JobWithPayload, type Rules, type Step } from '../../../src/job.js'
import { newJob, type Submission } from '../../../src/new-job.js'
import type { Share } from '../../../src/slot-shares.js'
import type { Bounds, Store } from '../../../src/store/store.js'

export interface Harness {
  /** How many nodes may live on the database at once: 1 where it belongs to one process. */
  nodes: number
  /** The store of a node that starts, by RULES and DIGESTS. Where no lease is given it is none that ends in a test. */
  open(node: string, lease?: number): Promise<Store>
  /** Ends `node` as kill −9 does, with all that was not committed lost; answers the store of `next`, which sees it dead. */
  crash(node: string, next: string): Promise<Store>
  /** Ends the lease of a node that goes on; only where more than one may live. */
  expire?(node: string): Promise<void>
  /** Cuts the connections of a node that goes on; only where more than one may live. */
  cut?(node: string): Promise<void>
  /** Closes what is still open and removes the database. */
  close(): Promise<void>
}

export const RULES: Rules = { priority_aging: 60_000, poison_after: 3 }
export const NO_BOUNDS: Bounds = { max_pending: 1_000_000, max_stored: 1_000_000, max_bytes: 1_000_000_000 }
/** What the stores of the suite know of digests. */
export const DIGESTS = [
  { name: 'ops', max_bytes: 16_384, job_events: { statuses: ['failed'], types: null } },
] as const satisfies DigestRules[]
export const T0 = 1_750_000_000_000

export type Stage = Awaited<ReturnType<typeof createStage>>

/** Closed after its test, and the counts are held against the jobs once more. */
export async function createStage(createHarness: () => Promise<Harness>) {
  const harness = await createHarness()
  let node = 'node-1'
  let crashes = 0
  let store = await harness.open(node)

  async function close(): Promise<void> {
    try {
      await expectCountsToFit(store)
    } finally {
      await harness.close()
    }
  }
  let closed: Promise<void> | null = null
  const leave = () => (closed ??= close())
  onTestFinished(leave)

  return {
    get store() {
      return store
    },
    get node() {
      return node
    },
    /** Before the test ends, where it needs many stages. */
    leave,
    /** Stores of as many nodes as the driver lets live at once, the first one included. */
    async stores(): Promise<Store[]> {
      const others = Array.from({ length: harness.nodes - 1 }, (_, i) => harness.open(`node-1-${i + 2}`))
      return [store, ...(await Promise.all(others))]
    },
    /** A further node. */
    join: (name: string, lease?: number) => harness.open(name, lease),
    /** The lease of a node is over, though it goes on. */
    async expire(name: string): Promise<void> {
      if (harness.expire === undefined) throw new Error('on this database no node outlives its lease')
      await harness.expire(name)
    },
    async cut(name: string): Promise<void> {
      if (harness.cut === undefined) throw new Error('this database has no connections')
      await harness.cut(name)
    },
    /** The node dies at once; `store` and `node` are those of the next one. */
    async crash(): Promise<void> {
      crashes += 1
      const next = `node-${crashes + 1}`
      store = await harness.crash(node, next)
      node = next
    },
    async reopen(): Promise<void> {
      await store.close()
      await this.crash()
    },

    /** Stores a job as it was submitted at `at`. */
    async add(submission: Partial<Submission> = {}, at = T0): Promise<JobWithPayload> {
      const job = aJob(submission, at)
      await store.submit([job], NO_BOUNDS)
      return job
    },
    async claim(slots: number[], { types = ['a'], at = T0 } = {}): Promise<JobWithPayload[]> {
      return (await store.claim({ node, shares: types.map(wholly), slots, now: at })).claimed
    },
    /** A job that runs, and is the only one of its type to. */
    async running(submission: Partial<Submission> = {}, at = T0): Promise<JobWithPayload> {
      const type = submission.type ?? `only-${v7()}`
      const { id } = await this.add({ ...submission, type }, at)
      const [job] = await this.claim([1], { types: [type], at })
      expect(job).toMatchObject({ id, status: 'processing' })
      return job as JobWithPayload
    },
    async end({ id, run }: Job, step: Step, now = T0 + 10): Promise<Job | null> {
      const [job] = (await store.settle([{ id, run, step, now }])).ended
      return job as Job | null
    },
  }
}

export function aJob(submission: Partial<Submission> = {}, at = T0): JobWithPayload {
  const defaults = {
    id: v7(),
    type: 'a',
    payload: '{"n":1}',
    priority: 3,
    run_at: null,
    max_attempts: 4,
    timeout_ms: 5,
  }
  return newJob({ ...defaults, ...submission }, at, RULES)
}

/** The share of a type that may take any slot. */
export const wholly = (type: string): Share => ({ type, limit: 1_000_000, reserved: 0 })

export const complete: Step = { verb: 'complete', result: '{"rows":3}', artifacts: [] }

export function anError(more: Partial<ErrorRecord> = {}): ErrorRecord {
  return { code: 'handler_error', message: 'no luck', attempt: 1, stack: 'Error: no luck\n    at run', ...more }
}

export const ids = (jobs: readonly Job[]): string[] => jobs.map(({ id }) => id)

/** What get() must answer for a job that a verb answered: verbs answer without the payload. */
export async function expectStored(store: Store, job: Job | null | undefined): Promise<void> {
  expect(job).toBeTruthy()
  expect(await store.get((job as Job).id)).toMatchObject({ ...job })
}

/** `counts().now` beside a recount of all jobs; `ever` is at least what is there. */
export async function expectCountsToFit(store: Store): Promise<void> {
  const counted: Record<string, Record<string, number>> = {}
  for (const { type, status } of (await store.list({}, 1_000_000, null)).jobs) {
    counted[type] ??= {}
    counted[type][status] = (counted[type][status] ?? 0) + 1
  }
  const counts = await store.counts()
  const now = Object.entries(counts).map(([type, { now }]) => [type, nonZero(now)])
  expect(Object.fromEntries(now.filter(([, now]) => Object.keys(now as object).length > 0))).toEqual(counted)
  for (const [type, statuses] of Object.entries(counted)) {
    for (const [status, n] of Object.entries(statuses)) {
      const ever = counts[type]?.ever as Record<string, number>
      if (isFinal(status as Job['status'])) expect(ever[status]).toBeGreaterThanOrEqual(n)
    }
  }
}

function nonZero(numbers: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(numbers).filter(([, n]) => n !== 0))
}
