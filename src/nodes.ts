// The nodes of the service: each jobmill process, what it is like now, and what is asked of it.
import { hostname } from 'node:os'
import { z } from 'zod'
import { VERSION } from './build.js'
import type { Dispatcher } from './dispatcher.js'
import { ServiceError } from './errors.js'
import type { JsonText } from './job.js'
import type { Pool } from './pool/pool.js'
import type { NodeStats } from './stats/stats.js'
import { sumUp } from './stats/sum.js'
import type { Cluster, NodeRecord, Orders, Wish } from './store/cluster.js'

/** What a node tells of itself. */
interface NodeAbout {
  state: 'starting' | 'alive' | 'draining'
  host: string
  pid: number
  version: string
  node_version: string
  max_workers: number
  /** Slots in which a job runs. */
  active_workers: number
  threads: number
  /** Resident memory. */
  memory_bytes: number
  /** Names of the types that it runs. */
  types: readonly string[]
  /** Why it takes no jobs, or null. */
  trouble: string | null
}

export interface Node extends Omit<NodeAbout, 'state'> {
  /** New at every start. */
  id: string
  /** `lost`: it has not been heard of for as long as its lease. */
  state: NodeAbout['state'] | 'lost'
  /** Milliseconds since 1970. */
  started_at: number
  heartbeat_at: number
  /** Null before its first beat, and where it is of a version that tells it otherwise. */
  stats: NodeStats | null
}

export interface NodesOptions {
  node: string
  /** Null: this node is the only one. */
  cluster: Cluster | null
  dispatcher: Dispatcher
  pool: Pool
  stats(): NodeStats
  state(): 'starting' | 'ready' | 'draining'
  /** Why it takes no jobs, or null. */
  unready(): string | null
  /** Those asked are to look for it at once. */
  call(): void
  /** Milliseconds since 1970. */
  now(): number
}

export interface Nodes {
  /** All that were heard of in the last hour, this one first. */
  list(): Promise<[Node, ...Node[]]>
  /** This one, as it is now. */
  here(): Node
  /** Whether another one that is alive has this type. */
  othersHave(type: string): Promise<boolean>
  /** What others show of this one. */
  about(): JsonText
  /** Does what was asked of this node. */
  obey(orders: Orders): void
  /**
   * Asks it of a node, or with null of all. Answers the first of those asked as it will be.
   *
   * @throws ServiceError node_not_found
   */
  ask(id: string | null, wish: Wish): Promise<Node>
}

/** What a version tells that another does not know is left out; what it does not tell has a value that says nothing. */
const aboutSchema = z.object({
  state: z.enum(['starting', 'alive', 'draining']).catch('starting'),
  host: z.string().catch(''),
  pid: z.int().catch(0),
  version: z.string().catch(''),
  node_version: z.string().catch(''),
  max_workers: z.int().catch(0),
  active_workers: z.int().catch(0),
  threads: z.int().catch(0),
  memory_bytes: z.number().catch(0),
  types: z.array(z.string()).catch([]),
  trouble: z.string().nullable().catch(null),
  stats: z.custom<NodeStats>(canBeSummed).nullable().catch(null),
})

/** Another version may measure otherwise: its node is shown without its figures. */
function canBeSummed(stats: unknown): boolean {
  try {
    const sum = sumUp([{ id: '', stats: stats as NodeStats }])
    return Number.isFinite(sum.throughput.last_1m.jobs_per_minute + sum.last_hour.ends_at)
  } catch {
    return false
  }
}

export function createNodes(options: NodesOptions): Nodes {
  const { node, cluster, dispatcher, pool, state, unready, now } = options
  const started_at = now()
  let drained = false
  let obeyed = 0

  function here(): Node {
    return {
      id: node,
      state: state() === 'starting' ? 'starting' : drained || state() === 'draining' ? 'draining' : 'alive',
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      node_version: process.versions.node,
      started_at,
      heartbeat_at: now(),
      max_workers: dispatcher.max_workers(),
      active_workers: dispatcher.running().length,
      threads: pool.threads(),
      memory_bytes: process.memoryUsage.rss(),
      types: dispatcher.types(),
      trouble: unready(),
      stats: options.stats(),
    }
  }

  function apply({ max_workers, draining }: Wish): void {
    if (max_workers !== undefined) dispatcher.resize(max_workers)
    if (draining === undefined) return
    drained = draining
    dispatcher.drain(draining)
  }

  async function others(): Promise<Node[]> {
    return (await cluster?.nodes())?.filter(({ id }) => id !== node).map(nodeOf) ?? []
  }

  return {
    here,
    list: async () => [here(), ...(await others())],
    othersHave: async (type) => (await others()).some(({ state, types }) => state !== 'lost' && types.includes(type)),
    about: () => JSON.stringify(here()),
    obey({ number, max_workers, draining }) {
      // A node that was away for so long that it was forgotten is asked anew.
      if (number === obeyed) return
      obeyed = number
      apply({ draining, ...(max_workers !== null && { max_workers }) })
    },
    async ask(id, wish) {
      const asked = cluster === null ? [node] : await cluster.ask(id, wish)
      const isHere = id === null || id === node
      if (isHere) apply(wish)
      options.call()
      if (isHere) return here()
      const found = asked.includes(id) ? (await cluster?.nodes())?.find((one) => one.id === id) : undefined
      if (found === undefined) throw new ServiceError('node_not_found', `there is no node ${id.slice(0, 100)} now`)
      return nodeOf(found)
    },
  }
}

function nodeOf({ id, started_at, heartbeat_at, alive, draining, about }: NodeRecord): Node {
  const told = aboutSchema.parse(JSON.parse(about))
  const state = !alive ? 'lost' : draining ? 'draining' : told.state
  return { ...told, id, started_at, heartbeat_at, state }
}
