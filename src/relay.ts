// This node among others: beats, tells them what happens here, and brings what happens there to who waits for it here.
import type { EventBus, ServiceEvent } from './events.js'
import type { FinalWaits } from './final-waits.js'
import { createHints, MOST_JOBS, readHint } from './hints.js'
import type { Job } from './job.js'
import type { JobFeed } from './job-feed.js'
import type { RunKey } from './pool/protocol.js'
import type { Beat, Cluster, Orders } from './store/cluster.js'

export interface RelayOptions {
  cluster: Cluster
  bus: EventBus
  waits: FinalWaits
  feed: JobFeed
  node: string
  /** What other nodes show of this one; JSON. */
  about(): string
  /** The jobs that hold this node's slots. */
  running(): Job[]
  /** Does what was asked of this node. */
  obey(orders: Orders): void
  /** Milliseconds since 1970. */
  now(): number
}

export interface Relay {
  start(): void
  /** Other nodes are to look at once for what is asked of them. */
  call(): void
  /** Sends what was not sent yet. */
  stop(): Promise<void>
}

const NOTHING = { kind: 'elsewhere', pending: false, left: false, claims: 0, due_at: null, schedules: false } as const

export function createRelay(options: RelayOptions): Relay {
  const { cluster, bus, waits, feed, node, now } = options
  let others = new Set<string>()
  /** Runs that were told to stop. */
  let stopped = new Set<string>()
  /** One after the other, so that what is told last was read last. */
  let telling: Promise<void> = Promise.resolve()
  /** All that is waited for is going to be read. */
  let looking = false
  /** Jobs that moved here while others are read: what is read of them is older. Null: nothing is read. */
  let newer: Set<string> | null = null
  const hints = createHints({ bus, node, heard: () => others.size > 0, send: cluster.hint })

  bus.subscribe((event) => {
    if (event.kind === 'job') newer?.add(event.job.id)
    // It may have been stored all the same, before its answer was lost: whoever waits for it here is told.
    if (event.kind === 'late_outcome') inTurn(() => tellJobs([event.id]))
  })

  const tell = (event: ServiceEvent) => bus.publish(event)

  function hear(text: string): void {
    const hint = readHint(text)
    if (hint === null || hint.more) gap()
    if (hint === null) return
    const { jobs, many, stops, orders, more, ...news } = hint
    tell({ kind: 'elsewhere', ...news })
    stop(stops.map(([id, run]) => ({ id, run })))
    if (orders) void cluster.beat()
    if (many || !feed.watched()) feed.miss()
    if (many) lookForWaits()
    const wanted = feed.watched() ? jobs : jobs.filter(waits.has)
    if (wanted.length > 0) inTurn(() => tellJobs(wanted))
  }

  /** Whatever may have happened is looked at. */
  function gap(): void {
    tell({ kind: 'gap' })
    tell({ ...NOTHING, pending: true, left: true, due_at: now(), schedules: true })
    lookForWaits()
  }

  /** Reads all that somebody waits for here. */
  function lookForWaits(): void {
    if (looking) return
    looking = true
    inTurn(async () => {
      looking = false
      const ids = waits.ids()
      for (let at = 0; at < ids.length; at += MOST_JOBS) inTurn(() => tellJobs(ids.slice(at, at + MOST_JOBS)))
    })
  }

  function inTurn(work: () => Promise<void>): void {
    telling = telling.then(work).catch((error: unknown) => {
      tell({ kind: 'store_trouble', doing: 'reading what other nodes did', message: String(error) })
    })
  }

  async function tellJobs(ids: readonly string[]): Promise<void> {
    const moved = new Set<string>()
    newer = moved
    try {
      for (const job of await cluster.jobs(ids)) if (!moved.has(job.id)) tell({ kind: 'job_elsewhere', job })
    } finally {
      newer = null
    }
  }

  /** Those of these runs that are this node's. */
  function stop(runs: readonly RunKey[]): void {
    const here = new Set(options.running().map(keyOf))
    for (const { id, run } of runs) if (here.has(keyOf({ id, run }))) tell({ kind: 'stop_wanted', id, run })
  }

  function onBeat({ lost, cancel_requested, rescue, alive, orders }: Beat): void {
    options.obey(orders)
    const unwanted = [...lost, ...cancel_requested]
    stop(unwanted.filter((run) => !stopped.has(keyOf(run))))
    stopped = new Set(unwanted.map(keyOf))
    if (rescue) tell({ ...NOTHING, due_at: now() })
    const before = others
    others = new Set(alive.filter((id) => id !== node))
    if ([...others].some((id) => !before.has(id))) hints.welcome()
    // What it did last may never have been told.
    if ([...before].some((id) => !others.has(id))) gap()
  }

  return {
    start() {
      const runs = () => options.running().map(({ id, run }) => ({ id, run }))
      hints.start()
      cluster.join({ about: options.about, runs, onBeat, onHint: hear, onGap: gap })
      // Others beat then, and know that there is one more to send hints to.
      void cluster.beat().then(hints.call)
    },
    call: hints.call,
    async stop() {
      await hints.stop()
      await telling
    },
  }
}

const keyOf = ({ id, run }: RunKey) => `${id} ${run}`
