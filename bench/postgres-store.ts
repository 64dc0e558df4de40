// What each verb of the PostgreSQL store reaches on one connection, and with which statements; an empty queue and a full one.
import pg from 'pg'
import { createIds } from '../src/ids.js'
import type { JobWithPayload } from '../src/job.js'
import { newJob } from '../src/new-job.js'
import { openPostgresStore } from '../src/store/postgres/postgres.js'
import type { Ending, Store } from '../src/store/store.js'
import { startPostgres } from '../test/support/postgres-server.js'

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3)
const JOBS = Number(process.env.BENCH_JOBS ?? 20_000)
const WAITING = Number(process.env.BENCH_WAITING ?? 200_000)
const LIST = 1_000
const BATCH = 500
const SLOTS = 8
const SINGLE = 1_000

const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const ROOM = Number.MAX_SAFE_INTEGER
const BOUNDS = { max_pending: ROOM, max_stored: ROOM, max_bytes: ROOM }
const newId = createIds(Date.now)
const newJobs = (n: number, now = Date.now()) =>
  Array.from({ length: n }, () =>
    newJob(
      { id: newId(), type: 'noop', payload: '{"n":1}', priority: 3, run_at: null, max_attempts: 4, timeout_ms: 1_000 },
      now,
      RULES,
    ),
  )

async function submit(store: Store, jobs: number, list: number): Promise<void> {
  for (let stored = 0; stored < jobs; stored += list) await store.submit(newJobs(list), BOUNDS)
}

/** As the dispatcher does: the ends of runs share a transaction with the claim that fills their slots. */
async function drain(store: Store, jobs: number, n: number, together: boolean): Promise<void> {
  const slots = Array.from({ length: n }, (_, i) => i + 1)
  const claim = async () => {
    const shares = [{ type: 'noop', limit: n, reserved: 0 }]
    return (await store.claim({ node: 'bench', shares, slots, now: Date.now() })).claimed
  }
  const end = ({ id, run }: JobWithPayload): Ending => {
    return { id, run, step: { verb: 'complete', result: null, artifacts: [] }, now: Date.now() }
  }
  let left = jobs
  for (let running = await claim(); left > 0 && running.length > 0; ) {
    const endings = running.map(end)
    const settled = together ? [store.settle(endings)] : endings.map((ending) => store.settle([ending]))
    left -= running.length
    const next = claim()
    const ended = (await Promise.all(settled)).flatMap(({ ended }) => ended)
    if (ended.some((job) => job?.status !== 'completed')) throw new Error('a run was not ended')
    running = await next
  }
}

const statements = new Map<string, { n: number; ms: number }>()

/** Each statement that the driver sends, by its text. */
function watchStatements(): void {
  const { query } = pg.Client.prototype
  pg.Client.prototype.query = async function (this: pg.Client, ...args: unknown[]) {
    const [asked] = args as [string | { text: string }]
    const text = (typeof asked === 'string' ? asked : asked.text).replace(/\s+/g, ' ')
    const begun = performance.now()
    const result = await Reflect.apply(query, this, args)
    const sum = statements.get(text) ?? { n: 0, ms: 0 }
    statements.set(text, { n: sum.n + 1, ms: sum.ms + performance.now() - begun })
    return result
  } as typeof query
}

async function measure(what: string, jobs: number, work: () => Promise<void>): Promise<void> {
  statements.clear()
  const begun = performance.now()
  await work()
  const ms = performance.now() - begun
  process.stdout.write(`${what.padEnd(44)} ${Math.round((jobs * 1_000) / ms)} jobs/s\n`)
  if (!process.argv.includes('--statements')) return
  const sorted = [...statements].sort(([, a], [, b]) => b.ms - a.ms)
  for (const [text, sum] of sorted)
    process.stdout.write(`  ${sum.ms.toFixed(0).padStart(6)} ms ${String(sum.n).padStart(6)} times  ${text.slice(0, 110)}\n`)
}

async function round(store: Store, state: string): Promise<void> {
  await measure(`submit, lists of ${LIST}, ${state}`, JOBS, () => submit(store, JOBS, LIST))
  await measure(`drain in batches of ${BATCH}, ${state}`, JOBS, () => drain(store, JOBS, BATCH, true))
  await submit(store, JOBS / 4, LIST)
  await measure(`drain with ${SLOTS} slots, ${state}`, JOBS / 4, () => drain(store, JOBS / 4, SLOTS, false))
  await measure(`submit, one at a time, ${state}`, SINGLE, () => submit(store, SINGLE, 1))
  await drain(store, SINGLE, BATCH, true)
}

const server = await startPostgres()
watchStatements()
try {
  const store = await openPostgresStore({ source: server.url, node: 'bench', lease: 60_000 }, RULES)
  for (let i = 0; i < ROUNDS; i += 1) await round(store, 'none waiting')
  await submit(store, WAITING, LIST)
  for (let i = 0; i < ROUNDS; i += 1) await round(store, `${WAITING} waiting`)
  await store.close()
} finally {
  await server.remove()
}
