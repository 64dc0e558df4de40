// `npx tsx bench/postgres-statements.ts`: which statements the PostgreSQL store sends for each verb, and how long they take.
import pg from 'pg'
import { startPostgres } from '../src/torture/postgres.js'
import { BATCH, drain, LIST, openStore, SLOTS, submit } from './store-jobs.js'

const JOBS = Number(process.env.BENCH_JOBS ?? 20_000)
const WAITING = Number(process.env.BENCH_WAITING ?? 200_000)

const statements = new Map<string, { n: number; ms: number }>()

/** By their text, from when each is asked until it is answered: those that wait for one before them count its time too. */
function watch(): void {
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

async function measure(what: string, jobs: number, work: () => Promise<unknown>): Promise<void> {
  statements.clear()
  const begun = performance.now()
  const before = process.cpuUsage()
  await work()
  const rate = Math.round((jobs * 1_000) / (performance.now() - begun))
  const { user, system } = process.cpuUsage(before)
  process.stdout.write(
    `\n${what}: ${rate} jobs/s, ${((user + system) / jobs).toFixed(1)} µs of CPU of this process a job\n`,
  )
  for (const [text, { n, ms }] of [...statements].sort(([, a], [, b]) => b.ms - a.ms))
    process.stdout.write(`${ms.toFixed(0).padStart(8)} ms ${String(n).padStart(6)} times  ${text.slice(0, 120)}\n`)
}

const server = await startPostgres()
watch()
try {
  const store = await openStore(server.url, 'bench')
  const round = async (state: string) => {
    await measure(`submit in lists of ${LIST}, ${state}`, JOBS, () => submit(store, JOBS))
    await measure(`drain in batches of ${BATCH}, ${state}`, JOBS, () => drain(store, 'bench', 'batches', JOBS))
    await submit(store, JOBS / 4)
    await measure(`drain with ${SLOTS} slots, ${state}`, JOBS / 4, () => drain(store, 'bench', 'slots', JOBS / 4))
  }
  await round('the first time')
  await round('none waiting')
  await submit(store, WAITING)
  await round(`${WAITING} waiting`)
  await store.close()
} finally {
  await server.remove()
}
