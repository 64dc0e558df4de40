// Beats and hints, on a connection of their own: they never wait for writes, and what is lost with it is noticed.
import { setTimeout } from 'node:timers/promises'
import type { JsonText } from '../../job.js'
import type { Cluster, Member } from '../cluster.js'
import { COLUMNS, parseJob, type Values } from '../job-row.js'
import { type Connection, type ConnectionOptions, openConnection, type Queries } from './connection.js'
import { createNodes } from './nodes.js'
import { reach } from './refusals.js'

/** Beats in a lease: two may be lost before the node is taken for dead. */
const BEATS = 4
const NOBODY: JsonText = '{}'
const LEAST_PATIENCE_MS = 1_000
/** For so long a node tries to take leave of a server that was away when it was asked last. */
const LEAVE_MS = 1_000

export interface PostgresCluster extends Cluster {
  /** Its first beat, by which others know of it. */
  enter(db: Queries): Promise<void>
  /** Why its beats fail, or null. */
  trouble(): string | null
  /** Takes leave: what this node still runs may be rescued at once. */
  leave(db: Connection): Promise<void>
}

export interface ClusterOptions {
  connection: ConnectionOptions
  reader: Queries
  node: string
  /** Milliseconds. */
  lease: number
}

export function createCluster({ connection, reader, node, lease }: ClusterOptions): PostgresCluster {
  const nodes = createNodes(node, lease)
  let member: Member | null = null
  let trouble: string | null = null
  let beating: Promise<void> = Promise.resolve()
  const channel = `${connection.schema} hints`
  // A line that is silent is given up while there is time for another beat.
  const patience = Math.max(LEAST_PATIENCE_MS, lease / BEATS)
  const pulse: Connection = openConnection({
    ...connection,
    timeouts: connection.timeouts ?? { connect: patience, statement: patience, answer: patience },
    durable: false,
    channel,
    // Its own hints come back as well.
    onHint(text) {
      if (!text.startsWith(`${node} `)) member?.onHint(text.slice(text.indexOf(' ') + 1))
    },
    onListening: () => member?.onGap(),
  })

  async function once(): Promise<void> {
    const me = member
    try {
      const beat = await nodes.beat(pulse, me?.about() ?? NOBODY, me?.runs() ?? [])
      trouble = null
      me?.onBeat(beat)
    } catch (error) {
      // The next one comes all the same.
      trouble = `it cannot tell that it is alive: ${error instanceof Error ? error.message : error}`
    }
  }

  function beat(): Promise<void> {
    beating = beating.then(once)
    return beating
  }

  const timer = setInterval(beat, lease / BEATS)

  return {
    join(joining) {
      member = joining
      void beat()
    },
    beat,
    nodes: () => reach(nodes.list(reader)),
    ask: (whom, wish) => reach(nodes.ask(pulse, whom, wish)),
    async hint(text) {
      await pulse.run('SELECT pg_notify($1, $2)', [channel, `${node} ${text}`])
    },
    async jobs(ids) {
      const text = `SELECT ${COLUMNS} FROM jobs WHERE id = ANY($1::text[])`
      const rows = await reach(reader.values<Values>(text, [ids]))
      return rows.map(parseJob)
    },
    async enter(db) {
      await nodes.beat(db, NOBODY, [])
    },
    trouble: () => trouble,
    async leave(db) {
      clearInterval(timer)
      member = null
      // One that is under way would tell that the node lives after it has taken leave.
      const left = beating.then(() => nodes.leave(db)).catch(() => {})
      // A server that is away may not hear it: the lease will be over.
      await (db.trouble() === null ? left : Promise.race([left, setTimeout(LEAVE_MS)]))
      await pulse.close()
    },
  }
}
