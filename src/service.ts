// The composition root: the only file that constructs. Read it to see what there is and what knows what.
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import type { Express } from 'express'
import { v4 } from 'uuid'
import { createArtifactQuota } from './artifact-quota.js'
import { createBulk } from './bulk.js'
import type { Config } from './config.js'
import { ConfigError } from './config-file.js'
import { digestRules, digestSchedules } from './digests/digests.js'
import { createDispatcher } from './dispatcher.js'
import { createDrainRate } from './drain-rate.js'
import { ServiceError } from './errors.js'
import { createEventBus, type EventBus } from './events.js'
import { createFinalWaits } from './final-waits.js'
import { createGate } from './gate.js'
import { createHandlerCalls } from './handler-calls.js'
import { createApp } from './http/app.js'
import { isLoopback } from './http/guards.js'
import { createLivePages } from './http/live-pages.js'
import { closeServer, createLimitedServer, listen } from './http/server.js'
import { createStreams } from './http/streams.js'
import { createSubmit } from './http/submit.js'
import { createIds } from './ids.js'
import { createJobFeed } from './job-feed.js'
import { loadJobTypes } from './job-types.js'
import { type Logger, logEvents } from './log.js'
import { createMetrics } from './metrics.js'
import { createNodes } from './nodes.js'
import { createPool } from './pool/pool.js'
import { createRelay } from './relay.js'
import { createRoom } from './room.js'
import { checkSchedules } from './schedules/configured.js'
import { createFiring } from './schedules/firing.js'
import { createSchedules } from './schedules/schedules.js'
import { createStats } from './stats/stats.js'
import { openArtifacts, openStore } from './store/open-store.js'
import { createTracker } from './tracker.js'
import { createArtifactJanitor } from './upkeep/artifact-janitor.js'
import { createDiskSpace } from './upkeep/disk-space.js'
import { createHeartbeats } from './upkeep/heartbeats.js'
import { createPruner } from './upkeep/pruner.js'
import { createScheduler } from './upkeep/scheduler.js'
import { createSystemSchedules } from './upkeep/system-schedules.js'
import { createTicker } from './upkeep/ticker.js'
import { createWhy } from './why.js'

export interface Service {
  app: Express
  /** Recovers what a crash left, then listens and runs jobs. Answers the URL. Rejects where the port is taken. */
  start(): Promise<string>
  /** Claims and accepts nothing more, lets running jobs end within `worker.shutdown_grace`, and lets go of everything. */
  stop(): Promise<Stopped>
  /** Ends a stop() under way without waiting for running jobs: they are released. */
  hurry(): void
}

/** Ids of jobs that had not ended when the service stopped; they run again at the next start. */
interface Stopped {
  /** Pending again, as if their run had not begun. */
  released: string[]
  /** Still inside native calls, that nothing but the end of the process can end. */
  running: string[]
}

export interface Surroundings {
  log: Logger
  /** Milliseconds since 1970. */
  now?: () => number
  /** Milliseconds that never go back and that no change of the time of day moves. */
  clock?: () => number
  /** Milliseconds after which idle threads above `worker.min_workers` leave. */
  idle_ms?: number
  /** The database cannot be trusted any more: stop, and start again from what is on disk. */
  onStoreFailure?: (why: string) => void
}

const IDLE_MS = 30_000

/** Seconds after which a client that met a shutdown may find the next process. */
const RESTART_S = 10

/**
 * What a stop may take beyond both graces, before threads that do not end and outcomes that the store refuses are given
 * up: longer than the store waits for a lock, so that what it refuses is told.
 */
const PATIENCE_MS = 7_000

/** @throws ConfigError, StoreOpenError */
export async function createService(config: Config, surroundings: Surroundings): Promise<Service> {
  const {
    log,
    now = Date.now,
    clock = () => performance.now(),
    idle_ms = IDLE_MS,
    onStoreFailure = () => {},
  } = surroundings
  refuseOpenDoor(config)
  const { server: http, worker } = config
  const { payload: max_payload, checkpoint: max_checkpoint } = config.limits
  const { types, warnings } = await loadJobTypes(config)
  for (const line of [...config.warnings, ...warnings]) log.warn(line)
  for (const { name, disabled } of types.values())
    if (disabled !== null) log.warn({ type: name, reason: disabled }, 'type disabled')

  const submissionRules = { types, max_payload }
  checkSchedules(config, submissionRules, now())
  const node = `${hostname()}-${v4().slice(0, 8)}`
  const rules = { priority_aging: worker.priority_aging, poison_after: worker.poison_after }
  const { database, artifacts, ballast, min_free, max_stored, max_bytes } = config.data
  const max_pending_of = new Map(
    [...types].flatMap(([name, { queue_size }]) => (queue_size === null ? [] : [[name, queue_size] as const])),
  )
  const bounds = { max_pending: worker.queue_size, max_pending_of, max_stored, max_bytes }
  const bus = createEventBus()
  logEvents(bus, log)
  const file = database.driver === 'sqlite' ? database.file : null
  const disk = createDiskSpace({ bus, database: file, artifacts: artifacts.dir, ballast, min_free })
  const digests = digestRules(config)
  const store = await openStore(database, rules, {
    node,
    lease: worker.lease,
    digests,
    types: [...types.values()].filter(({ disabled }) => disabled === null).map((type) => ({ ...type, max_payload })),
    onCommit: (writes, ms) => metrics.committed(writes, ms),
    onFull: () => bus.publish({ kind: 'disk_full' }),
    onFailure(message) {
      bus.publish({ kind: 'store_failed', message })
      // Outcomes cannot be stored any more: jobs run again after the next start, whatever they still do.
      tracker.stop()
      dispatcher.hurry()
      onStoreFailure(message)
    },
  })
  const [newId, { refusal }] = [createIds(now), disk]
  const files = await openArtifacts(config.data, { node, service: store.service }).catch(async (error: unknown) => {
    await store.close()
    throw error
  })
  const tracker = createTracker({ store, files, bus, node, rules, bounds, refusal, now, newId, random: Math.random })
  const quota = createArtifactQuota({
    store,
    bus,
    max_job: artifacts.max_bytes,
    max_stored: max_bytes,
    refusal: disk.artifactRefusal,
  })
  const pool = createPool({
    artifactFolder: files.folder,
    serve: createHandlerCalls({ store, tracker, types, files, quota, max_payload, max_checkpoint, now }),
    min_threads: worker.min_workers,
    idle_ms,
    max_old_generation_mb: worker.resource_limits.max_old_generation_mb,
    recycle: worker.recycle,
    limits: config.limits,
    cancel_grace: worker.cancel_grace,
    name: `jobmill-${node}`,
    dir: config.dir,
    types: Object.fromEntries([...types].map(([name, { url, config }]) => [name, { url, config }])),
    onProgress: ({ id, run }, { percent, note }) => void tracker.progress({ id, run, progress: percent, note }),
    onLog(run, message) {
      tracker.log(run, message)
      bus.publish({ kind: 'job_log', id: run.id, run: run.run, message })
    },
    onStrayError: (run, { message, stack }) =>
      bus.publish({ kind: 'stray_error', id: run?.id ?? null, run: run?.run ?? null, message, stack }),
    onFailure: (failure) => bus.publish({ kind: 'threads', failure }),
  })
  const { max_workers, only, poll, queue_size } = worker
  const several = store.cluster !== null
  const dispatcher = createDispatcher({ tracker, pool, types, only, bus, node, several, max_workers, poll, now })
  const ticker = createTicker({ tracker, bus, now })
  const scheduling = { store, bus, rules, submissionRules, bounds, now, newId }
  const [schedules, firing] = [
    createSchedules(scheduling),
    createFiring({ ...scheduling, othersHave: (type) => nodes.othersHave(type) }),
  ]
  const scheduler = createScheduler(firing, bus, now)
  const pruner = createPruner({ tracker, bus, retention: config.retention, types: types.values(), now })
  const janitor = createArtifactJanitor({ files, store, bus })
  const { max_workers: slotBound, running } = dispatcher
  const slots = () => ({ busy: running().length, max: slotBound() })
  const metrics = createMetrics({
    store,
    bus,
    file,
    queue_size,
    max_stored,
    slots,
    threads: pool.threads,
  })
  const stats = createStats({ bus, rules, max_workers: slotBound, now, clock, onMeasure: metrics.measured })
  const heartbeats = createHeartbeats({ bus, now, clock })

  let state: 'starting' | 'ready' | 'draining' = 'starting'
  const trouble = () => store.failure() ?? pool.failure() ?? disk.trouble()
  const unready = () => (state === 'ready' ? trouble() : `the server is ${state}`)
  const waits = createFinalWaits(bus, Math.ceil(http.max_connections / 2))
  const [feed, streams] = [createJobFeed(bus, v4().slice(0, 8)), createStreams(Math.ceil(http.max_connections / 4))]
  const { cluster } = store
  const call = () => relay?.call()
  const nodes = createNodes({ node, cluster, dispatcher, pool, stats, state: () => state, unready, call, now })
  const { about, obey } = nodes
  const relay = cluster && createRelay({ cluster, bus, waits, feed, node, about, running, obey, now })
  const drain = createDrainRate(bus, now)
  const refuseWhileDraining = () => {
    if (state === 'draining') throw new ServiceError('draining', 'no new jobs are taken', { retry_after: RESTART_S })
  }
  const { host, body_limit, cors_origins } = http
  const app = createApp({
    bus,
    store,
    files,
    tracker,
    waits,
    types,
    drain,
    metrics,
    heartbeats,
    node,
    queue_size,
    bounds,
    body_limit,
    submissionRules,
    submit: createSubmit({ store, tracker, submissionRules }),
    bulk: createBulk({ store, tracker, types }),
    nodes,
    schedules,
    firing,
    digests,
    feed,
    streams,
    live: createLivePages(streams, bus),
    system: createSystemSchedules(bus, { ticker, pruner, scheduler, 'disk-space': disk }, now),
    idempotency_window: config.data.idempotency_window,
    host,
    cors_origins,
    keys: config.auth.keys,
    now,
    newId,
    refuseWhileDraining,
    waitForRoom: createRoom(bus),
    why: createWhy({ store, dispatcher, types, nodes, now }),
    body_timeout: http.body_timeout,
    unready,
  })
  const server = createLimitedServer(http, app)
  let stopped: Promise<Stopped> | null = null
  const { promise: gaveUp, resolve: giveUp } = createGate()
  let patience: NodeJS.Timeout | undefined

  async function start(): Promise<string> {
    await recover()
    await schedules.adopt({ ...config.schedules, ...digestSchedules(config.digests) })
    await pool.proved()
    await listen(server, http.port, host)
    ticker.start()
    scheduler.start()
    dispatcher.start()
    pruner.start()
    janitor.start()
    relay?.start()
    await disk.start()
    state = 'ready'
    return urlOf(server.address() as AddressInfo)
  }

  /** Jobs that a dead process left running are pending again before the first is claimed. */
  async function recover(): Promise<void> {
    // The first that meets a full disk makes the ballast go.
    const tick = () => tracker.tick()
    while ((await tick().catch(tick)).rescued > 0);
  }

  async function stopAll(): Promise<Stopped> {
    state = 'draining'
    const released = idsReleased(bus)
    waits.end()
    // What becomes due from now on is the next process's.
    const noTicks = scheduler.stop()
    patience = setTimeout(giveUp, worker.shutdown_grace + worker.cancel_grace + PATIENCE_MS)
    await Promise.race([dispatcher.stop(worker.shutdown_grace), gaveUp])
    clearTimeout(patience)
    tracker.stop()
    const running = dispatcher.running().map(({ id }) => id)
    await Promise.all([noTicks, ticker.stop(), pruner.stop(), disk.stop()])
    streams.end()
    await closeServer(server)
    const threadsEnded = pool.stop()
    if (running.length === 0) await threadsEnded
    await janitor.stop()
    await files.close()
    await relay?.stop()
    await store.close()
    return { released, running }
  }

  return {
    app,
    start,
    stop: () => (stopped ??= stopAll()),
    hurry() {
      clearTimeout(patience)
      patience = setTimeout(giveUp, PATIENCE_MS)
      dispatcher.hurry()
    },
  }
}

/** Grows with each job that is released from now on. */
function idsReleased(bus: EventBus): string[] {
  const ids: string[] = []
  bus.subscribe((event) => {
    if (event.kind === 'job' && event.verb === 'release') ids.push(event.job.id)
  })
  return ids
}

/** @throws ConfigError where the service would be open to more than this machine */
export function refuseOpenDoor({ server, auth, locate }: Config): void {
  if (isLoopback(server.host) || auth.keys.length > 0) return
  const message = `must be a loopback address as long as there is no API key: anyone who reaches ${server.host} could run jobs. Set auth.keys ("jobmill key" makes one) or JOBMILL_API_KEY`
  throw new ConfigError([{ key: 'server.host', where: locate(['server', 'host']), message }])
}

function urlOf({ address, port, family }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
