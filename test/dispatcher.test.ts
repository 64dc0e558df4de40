// The dispatcher between a real store and real threads, at moments that HTTP cannot hit at will.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { createArtifactFolder } from '../src/artifacts.js'
import { createDispatcher } from '../src/dispatcher.js'
import { createEventBus, type ServiceEvent } from '../src/events.js'
import { createIds } from '../src/ids.js'
import { createPool } from '../src/pool/pool.js'
import { createTracker } from '../src/tracker.js'
import { openAt } from './store/open.js'
import { RULES } from './store/suite/stage.js'
import { freshFolder } from './support/folder.js'
import { typeFiles } from './support/types.js'
import { until } from './support/until.js'

const BACKOFF = { base: 1_000, factor: 2, max: 1_000, jitter: 0 }

/** A dispatcher with all that it drives, on a store of its own. */
function startDispatcher(type: 'polite' | 'hash', poll = 1_000) {
  const folder = freshFolder(typeFiles([type]))
  const url = pathToFileURL(join(folder, `types/${type}.mjs`)).href
  const limits = {
    timeout_ms: 60_000,
    retry_count: 0,
    backoff: BACKOFF,
    concurrency: null,
    reserved: 0,
    retention: {},
    rate: null,
    queue_size: null,
  }
  const jobType = { name: type, description: '', disabled: null, url, payload: null, config: {}, ...limits }
  const bus = createEventBus()
  const events: ServiceEvent[] = []
  bus.subscribe((event) => void events.push(event))
  const { store, db } = openAt(join(folder, 'jobs.db'))
  const ids = { now: Date.now, newId: createIds(Date.now), random: Math.random }
  const bounds = { max_pending: 10, max_stored: 10, max_bytes: 10_000 }
  const files = createArtifactFolder(folder)
  const tracker = createTracker({ store, files, bus, node: 'test', rules: RULES, bounds, refusal: () => null, ...ids })
  const pool = createPool({
    idle_ms: 30_000,
    onProgress: ({ id, run }, { percent, note }) => void tracker.progress({ id, run, progress: percent, note }),
    onLog() {},
    onStrayError() {},
    onFailure() {},
    limits: { payload: 1_000, result: 1_000, error: 1_000, log_lines: 100, log_line: 100, checkpoint: 65_536 },
    recycle: { jobs: 1_000, heap: 1_000_000_000 },
    artifactFolder: () => folder,
    serve: async () => {},
    min_threads: 1,
    max_old_generation_mb: 64,
    cancel_grace: 60_000,
    name: folder,
    dir: folder,
    types: { [type]: { url, config: {} } },
  })
  const types = new Map([[type, jobType]])
  const dispatcher = createDispatcher({
    tracker,
    pool,
    types,
    bus,
    node: 'test',
    max_workers: 1,
    poll,
    now: Date.now,
  })
  onTestFinished(async () => {
    await dispatcher.stop(0)
    await pool.stop()
  })
  const fixed = { type, priority: 3, run_at: null, max_attempts: 1, timeout_ms: 60_000, keys: [] }
  return {
    ...{ bus, events, store, db, tracker, pool, dispatcher },
    async submit(payload: object) {
      return (await tracker.submit({ ...fixed, payload: JSON.stringify(payload) }, Date.now())).job
    },
    reaches: (id: string, status: string) =>
      until(`${id} is ${status}`, async () => {
        const job = await store.get(id)
        return job?.status === status && job
      }),
  }
}

test('a cancel that is told between the claim of a job and its start stops it all the same', async () => {
  const { bus, dispatcher, submit, reaches } = startDispatcher('polite')
  let told = 0
  bus.subscribe((event) => {
    if (event.kind !== 'job' || event.verb !== 'claim') return
    told += 1
    bus.publish({ kind: 'cancel_requested', job: event.job })
  })
  dispatcher.start()
  const { id } = await submit({})
  const job = await reaches(id, 'cancelled')
  expect([told, job.run]).toEqual([1, 1])
})

test('a job that is claimed while the service stops at once is released at once', async () => {
  const { bus, dispatcher, submit, reaches } = startDispatcher('polite')
  const stopped: Promise<void>[] = []
  bus.subscribe((event) => {
    if (event.kind !== 'job' || event.verb !== 'claim') return
    stopped.push(dispatcher.stop(600_000))
    dispatcher.hurry()
  })
  dispatcher.start()
  const { id } = await submit({})
  expect(await reaches(id, 'pending')).toMatchObject({ attempt: 0 })
  await until('it is claimed', () => stopped.length > 0)
  await stopped[0]
  expect(await reaches(id, 'pending')).toMatchObject({ reason: 'released', attempt: 0, run: 1 })
})

test('a run that no longer holds its job is stopped when it reports progress, and its outcome changes nothing', async () => {
  const { dispatcher, submit, store, events, reaches } = startDispatcher('hash')
  dispatcher.start()
  const { id } = await submit({ rounds: 100_000 })
  const { run } = await reaches(id, 'processing')
  const step = { verb: 'fail', error: { code: 'poison', message: 'taken over', attempt: 1 } } as const
  ;(await store.settle([{ id, run, step, now: Date.now() }])).ended
  await until('its outcome comes', () => events.some(({ kind }) => kind === 'late_outcome'))
  expect(events).toContainEqual({ kind: 'stop_wanted', id, run })
  expect(await store.get(id)).toMatchObject({ status: 'failed', error: { code: 'poison' } })
})

test('an outcome that the store can never take fails its job instead of leaving it running for ever', async () => {
  const { dispatcher, submit, db, reaches } = startDispatcher('polite')
  db.exec(`CREATE TRIGGER refused BEFORE UPDATE ON jobs WHEN NEW.status = 'completed'
    BEGIN SELECT RAISE(ABORT, 'not this one'); END`)
  dispatcher.start()
  const { id } = await submit({})
  await reaches(id, 'processing')
  await dispatcher.stop(0)
  expect(await reaches(id, 'failed')).toMatchObject({
    error: { code: 'outcome_not_storable', message: expect.stringContaining('not this one') },
  })
})

test('the end of a job with a concurrency key is a reason to look for the next one of its key', async () => {
  const { bus, dispatcher, submit, store, reaches } = startDispatcher('hash', 600_000)
  dispatcher.start()
  const { id } = await submit({ rounds: 1 })
  const before = await reaches(id, 'completed')
  // One that nobody tells of, as the next of a key is when a claim did not see the end of the one before.
  const next = {
    ...before,
    id: `${id}-next`,
    status: 'pending',
    payload: '{"rounds":1}',
    started_at: null,
    finished_at: null,
  } as const
  await store.submit([{ ...next, attempt: 0, run: 0, keys: [] }], {
    max_pending: 10,
    max_stored: 10,
    max_bytes: 10_000,
  })
  bus.publish({ kind: 'job', verb: 'complete', job: { ...before, concurrency_key: 'k' } })
  await reaches(next.id, 'completed')
})
