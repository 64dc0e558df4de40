// The nodes of the service: each jobmill process, and what it is like now.
import { hostname } from 'node:os'
import { VERSION } from './build.js'
import type { Dispatcher } from './dispatcher.js'
import type { Pool } from './pool/pool.js'

export interface Node {
  /** New at every start. */
  id: string
  state: 'starting' | 'alive' | 'draining'
  host: string
  pid: number
  version: string
  node_version: string
  /** Milliseconds since 1970. */
  started_at: number
  heartbeat_at: number
  max_workers: number
  /** Slots in which a job runs. */
  active_workers: number
  threads: number
  /** Resident memory. */
  memory_bytes: number
  /** Why it takes no jobs, or null. */
  trouble: string | null
}

export interface NodesOptions {
  node: string
  dispatcher: Dispatcher
  pool: Pool
  state(): 'starting' | 'ready' | 'draining'
  /** Why it takes no jobs, or null. */
  unready(): string | null
  /** Milliseconds since 1970. */
  now(): number
}

/** Answers the function that lists them: with SQLite there is one. */
export function createNodes({ node, dispatcher, pool, state, unready, now }: NodesOptions): () => Node[] {
  const started_at = now()
  return () => {
    const here = state()
    return [
      {
        id: node,
        state: here === 'ready' ? 'alive' : here,
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
        trouble: unready(),
      },
    ]
  }
}
