// Several nodes on one store: what each of them tells of itself, what others ask of it, and a word from one to all others.
import type { Job, JsonText } from '../job.js'
import type { RunKey } from '../pool/protocol.js'

/**
 * Leases go by the clock of the database. Hints are heard by the nodes that listen at that moment and by no other: all
 * that they tell is in the database as well.
 */
export interface Cluster {
  /** From now on this node beats with what `member` tells, and hears the others. */
  join(member: Member): void
  /** Beats now, not only when it is time. Never rejects. */
  beat(): Promise<void>
  /** All nodes that were heard of in the last hour and have not taken leave, by id. */
  nodes(): Promise<NodeRecord[]>
  /** Asks something of a node, or with null of all that are alive. Answers whom. */
  ask(node: string | null, wish: Wish): Promise<string[]>
  /** Sends a hint to all other nodes: at most MOST_HINT_BYTES of UTF-8. */
  hint(text: string): Promise<void>
  /** Those that are there, without their payloads, in no order. */
  jobs(ids: readonly string[]): Promise<Job[]>
}

/** PostgreSQL's bound of a notification is 8,000 bytes. */
export const MOST_HINT_BYTES = 7_900

export interface Member {
  /** What other nodes show of this one. */
  about(): JsonText
  /** Those that hold its slots. */
  runs(): RunKey[]
  /** After each beat. */
  onBeat(beat: Beat): void
  onHint(text: string): void
  /** Hints may have been lost. */
  onGap(): void
}

export interface Beat {
  /** Runs that are this node's no longer. */
  lost: RunKey[]
  /** Runs whose cancel was asked for. */
  cancel_requested: RunKey[]
  /** Whether runs of nodes whose lease is over wait to be rescued. */
  rescue: boolean
  /** Ids of the nodes whose lease is not over, this one included. */
  alive: string[]
  orders: Orders
}

/** What was asked of a node since it started. */
export interface Orders {
  /** Grows with each wish. */
  number: number
  /** Null: nobody has asked for another number of slots. */
  max_workers: number | null
  draining: boolean
}

/** What is left out stays as it is. */
export interface Wish {
  max_workers?: number
  draining?: boolean
}

/** Times are milliseconds since 1970, by the clock of the database. */
export interface NodeRecord {
  id: string
  started_at: number
  heartbeat_at: number
  /** Its lease is not over. */
  alive: boolean
  draining: boolean
  /** What it told of itself at its last beat. */
  about: JsonText
}
