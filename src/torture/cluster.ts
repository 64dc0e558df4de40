// Several nodes on one PostgreSQL, each a process of its own, and clients that go to another node where theirs is gone.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, inFolder, until } from './bench.js'
import { createLedger, type Ledger, type Load, submit, type Witnessing } from './client.js'
import { type Postgres, startPostgres } from './postgres.js'
import { type LaunchOptions, type Server, start } from './server.js'
import { noteCrash, type Settings, witnessed, witnessFolder } from './witness.js'

export interface ClusterNode extends Server {
  /** As its jobs name it: new at every start. */
  id: string
  /** From 0: stays, and is the place of the next one after its end. */
  at: number
}

export interface Cluster {
  folder: string
  postgres: Postgres
  ledger: Ledger
  /** By their places. */
  nodes: ClusterNode[]
  /** Ids of nodes that were killed, stopped or cut off: nobody else's runs may be rescued. */
  troubled: Set<string>
  /** Milliseconds. */
  lease: number
  /** kill −9, and another one at once in its place. */
  replace(node: ClusterNode): Promise<void>
  /** Submits from so many clients at once, a little apart, until it is stopped. */
  load(clients: number, job?: () => Witnessing): Load
  /** Lines of the logs of all nodes, also of those that are gone, with this message. */
  logged(message: string): number
}

export interface ClusterOptions {
  nodes: number
  /** Seconds. */
  lease: number
  settings?: Settings
  types?: Record<string, string>
  /** The URL by which the node of this place reaches the database. */
  source?(url: string, at: number): Promise<string>
  /** More options of the node of this place. */
  launch?(at: number, folder: string): LaunchOptions
}

/** Between two submissions of a client: the nodes are to keep up. */
const PACE_MS = 60
/** Where they do not, because the machine is busy, submissions are refused. */
const MOST_PENDING = 300
/** Nodes that are started at once. */
const LANES = 3

export async function inCluster<T>(
  bench: Bench,
  options: ClusterOptions,
  body: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const { lease, types = {}, settings = {} } = options
  const worker = { lease: `${lease}s`, cancel_grace: 1, queue_size: MOST_PENDING, ...settings.worker }
  const master = { driver: 'postgres', schema: 'jobmill' }
  const data = { database: { master }, min_free: 0, ...settings.data }
  return inFolder(witnessFolder({ ...settings, data, worker }, types), async (folder) => {
    const postgres = await startPostgres()
    const nodes: ClusterNode[] = []
    const over = new AbortController()
    try {
      return await body(await startCluster(bench, options, { folder, postgres, nodes, over: over.signal }))
    } finally {
      over.abort()
      await Promise.allSettled(nodes.map((node) => node.kill('SIGKILL')))
      await postgres.remove()
    }
  })
}

async function startCluster(
  bench: Bench,
  { nodes: places, lease, source, launch }: ClusterOptions,
  { folder, postgres, nodes, over }: Pick<Cluster, 'folder' | 'postgres' | 'nodes'> & { over: AbortSignal },
): Promise<Cluster> {
  const ledger = createLedger()
  const troubled = new Set<string>()
  const logOf = (at: number) => `node-${at}.log`

  async function startAt(at: number): Promise<void> {
    const { env, ...more } = launch?.(at, folder) ?? {}
    const url = (await source?.(postgres.url, at)) ?? postgres.url
    const database = { JOBMILL_DATA__DATABASE__MASTER__SOURCE: url }
    const server = await start(bench, folder, {
      ...more,
      env: { ...witnessed(folder), ...database, ...env },
      log: logOf(at),
    })
    // Known before it is asked anything: whatever fails, it is ended.
    const node = { ...server, id: '', at }
    nodes[at] = node
    node.id = (await server.call('GET', '/nodes')).body.nodes[0].id
  }

  await startAll(places, startAt)

  return {
    folder,
    postgres,
    ledger,
    nodes,
    troubled,
    lease: lease * 1_000,
    async replace(node) {
      troubled.add(node.id)
      await node.kill('SIGKILL')
      noteCrash(folder)
      await startAt(node.at)
    },
    load: (clients, job = shortAndLong) => startLoad(nodes, ledger, clients, job, over),
    logged: (message) =>
      nodes.reduce((sum, { at }) => sum + readFileSync(join(folder, logOf(at)), 'utf8').split(message).length - 1, 0),
  }
}

/** A few at once. Where one cannot be started, all others are known before they are ended. */
async function startAll(places: number, startAt: (at: number) => Promise<void>): Promise<void> {
  let next = 0
  async function lane(): Promise<void> {
    while (next < places) {
      next += 1
      await startAt(next - 1)
    }
  }
  const started = await Promise.allSettled(Array.from({ length: LANES }, lane))
  for (const one of started) if (one.status === 'rejected') throw one.reason
}

/** Most end soon; some run on while things go wrong. */
const shortAndLong = (): Witnessing =>
  Math.random() < 0.05 ? { rounds: 40, pause: 50 } : { rounds: 5, pause: Math.floor(20 * Math.random()) }

/** A fault that could not be tried to its end does not stop its clients: they stop when the cluster is over. */
function startLoad(
  nodes: ClusterNode[],
  ledger: Ledger,
  clients: number,
  job: () => Witnessing,
  over: AbortSignal,
): Load {
  let going = true
  async function client(first: number): Promise<void> {
    for (let at = first; going && !over.aborted; ) {
      const node = nodes[at % nodes.length] as ClusterNode
      if (!isAlive(node) || (await submit(node, ledger, job())).status === 0) at += 1
      await sleep(PACE_MS)
    }
  }
  const all = Promise.all(Array.from({ length: clients }, (_, i) => client(i)))
  return {
    async stop() {
      going = false
      await all
    },
  }
}

export const isAlive = ({ child }: ClusterNode): boolean => child.exitCode === null && child.signalCode === null

export async function isReady(node: ClusterNode): Promise<boolean> {
  return (await node.call('GET', '/readyz')).status === 200
}

/** All are ready, and each takes all of them for alive. */
export async function recovered({ nodes }: Cluster, limit_ms: number): Promise<void> {
  const ids = nodes.map(({ id }) => id).sort()
  const sees = async (node: ClusterNode) => {
    const { status, body } = await node.call('GET', '/nodes')
    if (status !== 200 || !(await isReady(node))) return false
    const alive = body.nodes.filter(({ state }: { state: string }) => state === 'alive')
    return String(alive.map(({ id }: { id: string }) => id).sort()) === String(ids)
  }
  for (const node of nodes) await until(`node ${node.at} has recovered`, () => sees(node), limit_ms)
}

export const any = (nodes: readonly ClusterNode[]): ClusterNode =>
  nodes[Math.floor(nodes.length * Math.random())] as ClusterNode
