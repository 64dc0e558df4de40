// What a job costs the PostgreSQL server, and how the throughput of one server grows with its nodes.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { missingPostgres, startPostgres } from '../src/torture/postgres.js'
import { print, spread } from './figures.js'
import { type Cost, openMeter } from './postgres-meter.js'
import { BATCH, drain, LIST, openStore, SLOTS, submit, type Way } from './store-jobs.js'

const JOBS = 20_000
/** With few slots a job takes longer. */
const SLOT_JOBS = 8_000
const MOST_NODES = 3
const WAYS: Record<Way, { what: string; jobs: number }> = {
  batches: { what: `in batches of ${BATCH}`, jobs: JOBS },
  slots: { what: `with ${SLOTS} slots`, jobs: SLOT_JOBS },
}

export async function postgresCost(rounds: number): Promise<void> {
  const missing = missingPostgres()
  if (missing !== null) return print('cost on PostgreSQL', `skipped: ${missing}`, '')
  const server = await startPostgres({ shared_preload_libraries: 'pg_stat_statements' })
  try {
    await jobs(server.url, rounds)
    await nodes(server.url, rounds)
  } finally {
    await server.remove()
  }
}

async function jobs(url: string, rounds: number): Promise<void> {
  const [store, meter] = [await openStore(url, 'bench'), await openMeter(url)]
  const costs = new Map<string, Cost[]>()
  const measure = async (what: string, jobs: number, work: () => Promise<unknown>) => {
    costs.set(what, [...(costs.get(what) ?? []), await meter.measure(jobs, work)])
  }
  for (let round = 0; round <= rounds; round += 1) {
    await measure(`submitted in lists of ${LIST}`, JOBS, () => submit(store, JOBS))
    await measure(`drained ${WAYS.batches.what}`, JOBS, () => drain(store, 'bench', 'batches'))
    await submit(store, SLOT_JOBS)
    await measure(`drained ${WAYS.slots.what}`, SLOT_JOBS, () => drain(store, 'bench', 'slots'))
  }
  await meter.close()
  await store.close()
  process.stdout.write('\n')
  for (const [what, all] of costs) {
    // The first round warms up.
    const of = (kind: keyof Cost, digits: number) =>
      spread(
        all.slice(1).map((cost) => cost[kind]),
        digits,
      )
    print(`per job ${what}:`, of('statements', 3), 'statements,')
    print('', of('wal', 0), 'bytes of WAL,')
    print('', of('cpu_ms', 3), 'ms of CPU of the server')
  }
}

/** Each node is a process with a connection of its own; they take turns as one, two and three of them. */
async function nodes(url: string, rounds: number): Promise<void> {
  const store = await openStore(url, 'bench')
  const all: ChildProcess[] = []
  for (let i = 1; i <= MOST_NODES; i += 1) all.push(await startNode(url, `node-${i}`))
  const rates = new Map<string, number[]>()
  for (let round = 0; round <= rounds; round += 1)
    for (const [way, { what, jobs }] of Object.entries(WAYS))
      for (let n = 1; n <= MOST_NODES; n += 1) {
        await submit(store, jobs)
        const begun = performance.now()
        const ended = await Promise.all(all.slice(0, n).map((node) => told(node, way)))
        const rate = (jobs * 1_000) / (performance.now() - begun)
        const sum = ended.reduce((a, b) => a + b, 0)
        if (sum !== jobs) throw new Error(`${n} nodes ended ${sum} of ${jobs} jobs`)
        const name = `drained ${what}, ${n} ${n === 1 ? 'node' : 'nodes'}`
        if (round > 0) rates.set(name, [...(rates.get(name) ?? []), rate])
      }
  for (const node of all) {
    node.disconnect()
    await once(node, 'exit')
  }
  await store.close()
  for (const [name, of] of rates) print(name, spread(of), 'jobs/s')
}

async function startNode(url: string, name: string): Promise<ChildProcess> {
  const file = fileURLToPath(new URL('node.ts', import.meta.url))
  const node = fork(file, [url, name], { execArgv: ['--import', import.meta.resolve('tsx')] })
  await once(node, 'message')
  return node
}

/** How many jobs it has ended. */
async function told(node: ChildProcess, way: string): Promise<number> {
  const answer = once(node, 'message')
  node.send(way)
  return (await answer)[0]
}
