// `npm run bench`: each figure beside what it is to be compared with, measured in the same run.
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { newJob } from '../src/new-job.js'
import { openSqliteStore } from '../src/store/sqlite/sqlite.js'
import { print, spread } from './figures.js'
import { fillWithScheduled, looks, openPages } from './pages.js'
import { peers } from './peers.js'
import { postgresCost } from './postgres-cost.js'
import { inFolder, startEcho, startJobmill } from './processes.js'
import { pruneSteps } from './retention.js'
import { intoStore, stream } from './streams.js'
import { ticks } from './ticks.js'

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5)
const SECONDS = Number(process.env.BENCH_SECONDS ?? 4)
const CONNECTIONS = 64
const NOOP_JOBS = 20_000
const IDLE_JOBS = 300
const STREAM_JOBS = 200_000
const JOB = { type: 'email', payload: { to: 'user@example.com', subject: 'Hello', body: 'Test email' } }

/** Requests a second, each answered with 202. */
async function load(url: string, body: unknown): Promise<number> {
  const options = { url: `${url}/jobs`, method: 'POST', connections: CONNECTIONS, duration: SECONDS } as const
  const headers = { 'content-type': 'application/json' }
  const result = await autocannon({ ...options, headers, body: JSON.stringify(body) })
  if (result.non2xx + result.errors > 0) throw new Error(`${result.non2xx} refused, ${result.errors} errors`)
  return result.requests.total / result.duration
}

/** The two take turns, so that what else the machine does falls on both. The jobs are due tomorrow: none runs meanwhile. */
async function submissions(): Promise<void> {
  await inFolder(async (folder) => {
    const [echo, jobmill] = [await startEcho(folder), await startJobmill(folder)]
    const rows: { echo: number; jobmill: number }[] = []
    for (let round = 0; round <= ROUNDS; round += 1) {
      const row = { echo: await load(echo.url, JOB), jobmill: await load(jobmill.url, { ...JOB, delay: '1d' }) }
      // The first round warms both up.
      if (round > 0) rows.push(row)
    }
    await Promise.all([echo.stop(), jobmill.stop()])
    print('Express JSON echo, no database', spread(rows.map((row) => row.echo)), 'requests/s')
    print('POST /jobs, durable', spread(rows.map((row) => row.jobmill)), 'requests/s')
    print(
      '  ratio',
      spread(
        rows.map((row) => row.jobmill / row.echo),
        2,
      ),
      '',
    )
  })
}

/** Beside the store alone, which is what a stream could reach if HTTP, JSON and checks cost nothing. */
async function streams(): Promise<void> {
  const rows: { store: number; stream: number }[] = []
  for (let round = 0; round <= ROUNDS; round += 1) {
    const row = await inFolder(async (folder) => {
      const store = await intoStore(`${folder}/store.db`, STREAM_JOBS)
      const server = await startJobmill(folder)
      await fetch(`${server.url}/workers/pause`, { method: 'POST', body: '{}' })
      const rate = await stream(server.url, STREAM_JOBS)
      await server.stop()
      return { store, stream: rate }
    })
    if (round > 0) rows.push(row)
  }
  print('store alone, 1,000 jobs a transaction', spread(rows.map((row) => row.store)), 'jobs/s')
  print('POST /jobs/batch, NDJSON, durable', spread(rows.map((row) => row.stream)), 'jobs/s')
  print(
    '  ratio',
    spread(
      rows.map((row) => row.stream / row.store),
      2,
    ),
    '',
  )
}

/** From the start of the service, with all jobs in its file, until the last is completed. */
async function noops(): Promise<void> {
  const rates: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    rates.push(
      await inFolder(async (folder) => {
        await fill(`${folder}/jobs.db`, NOOP_JOBS)
        const server = await startJobmill(folder)
        const begun = performance.now()
        while ((await stats(server.url)).completed_jobs < NOOP_JOBS) await sleep(50)
        const seconds = (performance.now() - begun) / 1_000
        await server.stop()
        return NOOP_JOBS / seconds
      }),
    )
  }
  print('no-op jobs, claimed, run in threads, settled', spread(rates), 'jobs/s')
}

async function fill(file: string, jobs: number): Promise<void> {
  const rules = { priority_aging: 3_600_000, poison_after: 3 }
  const store = openSqliteStore(file, rules)
  const now = Date.now()
  const all = Array.from({ length: jobs }, (_, i) => ({
    id: `noop-${String(i).padStart(9, '0')}`,
    type: 'noop',
    payload: '{}',
    priority: 3,
    run_at: null,
    max_attempts: 1,
    timeout_ms: 60_000,
  }))
  await store.submit(
    all.map((job) => newJob(job, now, rules)),
    { max_pending: jobs, max_stored: jobs, max_bytes: Number.POSITIVE_INFINITY },
  )
  await store.close()
}

async function stats(url: string): Promise<{ completed_jobs: number }> {
  const response = await fetch(`${url}/workers/stats`)
  return (await response.json()) as { completed_jobs: number }
}

/** From just before the request is sent until the handler's first line, on an idle service. */
async function submitToStart(): Promise<void> {
  await inFolder(async (folder) => {
    const server = await startJobmill(folder)
    const waits: number[] = []
    for (let i = 0; i < IDLE_JOBS; i += 1) {
      const sent_at = performance.timeOrigin + performance.now()
      const { id } = await call(server.url, '/jobs', { type: 'noop' })
      let job = await call(server.url, `/jobs/${id}`)
      while (job.status !== 'completed') job = await call(server.url, `/jobs/${id}`)
      waits.push(Number(job.result) - sent_at)
    }
    await server.stop()
    const sorted = waits.slice(20).sort((a, b) => a - b)
    const at = (share: number) => (sorted[Math.floor(share * sorted.length)] as number).toFixed(2)
    print('submit to start when idle', `p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)}`, 'ms')
  })
}

async function retention(): Promise<void> {
  for (const jobs of [10_000, 1_000_000]) {
    const steps = await inFolder((folder) => pruneSteps(`${folder}/jobs.db`, jobs))
    const at = (share: number) => (steps[Math.floor(share * (steps.length - 1))] as number).toFixed(1)
    print(`a step of retention, ${jobs} final jobs`, `p50 ${at(0.5)}, p95 ${at(0.95)}, longest ${at(1)}`, 'ms')
  }
}

async function schedules(): Promise<void> {
  const rounds: Awaited<ReturnType<typeof ticks>>[] = []
  for (let i = 0; i < ROUNDS; i += 1) rounds.push(await inFolder((folder) => ticks(`${folder}/jobs.db`, 10_000, 1_000)))
  print(
    'a look at 10,000 idle schedules',
    spread(
      rounds.map(({ look }) => look),
      3,
    ),
    'ms',
  )
  print('1,000 schedules due at once, all fired', spread(rounds.map(({ all }) => all)), 'ms')
  print(
    'their longest hold of the event loop',
    spread(
      rounds.map(({ hold }) => hold),
      1,
    ),
    'ms',
  )
}

/** What 200 people who look cost; the two take turns on one server. */
async function pages(): Promise<void> {
  await inFolder(async (folder) => {
    await fillWithScheduled(`${folder}/jobs.db`, 1_000_000)
    const server = await startJobmill(folder)
    for (const [path, times] of Object.entries(await looks(server.url))) {
      const at = (share: number) => (times[Math.floor(share * (times.length - 1))] as number).toFixed(1)
      print(`GET ${path}, 1,000,000 jobs stored`, `p50 ${at(0.5)}, p95 ${at(0.95)}, longest ${at(1)}`, 'ms')
    }
    const ratios: number[] = []
    for (let round = 0; round <= ROUNDS; round += 1) {
      const without = await load(server.url, { ...JOB, delay: '1d' })
      const close = await openPages(server.url, 200)
      const beside = await load(server.url, { ...JOB, delay: '1d' })
      close()
      if (round > 0) ratios.push(beside / without)
    }
    await server.stop()
    print('POST /jobs beside 200 open overviews', spread(ratios, 2), 'of without')
  })
}

async function call(
  url: string,
  path: string,
  body?: unknown,
): Promise<{ id: string; status: string; result: unknown }> {
  const request = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const response = await fetch(url + path, request)
  return (await response.json()) as { id: string; status: string; result: unknown }
}

const PARTS: Record<string, () => Promise<void>> = {
  submissions,
  streams,
  noops,
  'submit-to-start': submitToStart,
  retention,
  schedules,
  pages,
  peers: () => peers(ROUNDS),
  postgres: () => postgresCost(ROUNDS),
}

const asked = process.argv.slice(2)
const unknown = asked.find((part) => !(part in PARTS))
if (unknown !== undefined) {
  process.stderr.write(`${unknown} is none of the parts: ${Object.keys(PARTS).join(', ')}\n`)
  process.exit(2)
}
process.stdout.write(`Node ${process.version}, ${ROUNDS} rounds, median (lowest to highest)\n`)
for (const [part, measure] of Object.entries(PARTS)) if (asked.length === 0 || asked.includes(part)) await measure()
