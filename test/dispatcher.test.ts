// The dispatcher between a real store and real threads, at moments that HTTP cannot hit at will.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { createDispatcher } from '../src/dispatcher.js'
import { createEventBus } from '../src/events.js'
import { createIds } from '../src/ids.js'
import { createPool } from '../src/pool/pool.js'
import { openSqliteStore } from '../src/store/sqlite/sqlite.js'
import { createTracker } from '../src/tracker.js'
import { freshFolder } from './support/folder.js'
import { typeFiles } from './support/types.js'
import { until } from './support/until.js'

test('a cancel that is told between the claim of a job and its start stops it all the same', async () => {
  const folder = freshFolder(typeFiles(['polite']))
  const url = pathToFileURL(join(folder, 'types/polite.mjs')).href
  const backoff = { base: 1_000, factor: 2, max: 1_000, jitter: 0 }
  const polite = {
    name: 'polite',
    description: '',
    disabled: null,
    url,
    payload: null,
    config: {},
    timeout_ms: 60_000,
    retry_count: 0,
    backoff,
    concurrency: null,
    reserved: 0,
    retention: {},
  }
  const rules = { priority_aging: 3_600_000, poison_after: 3 }
  const bounds = { max_pending: 10, max_stored: 10 }
  const bus = createEventBus()
  const store = openSqliteStore(join(folder, 'jobs.db'), rules)
  const tracker = createTracker({
    store,
    bus,
    node: 'test',
    rules,
    bounds,
    now: Date.now,
    newId: createIds(Date.now),
    random: Math.random,
  })
  const quiet = { onProgress() {}, onLog() {}, onStrayError() {}, artifactFolder: () => folder, serve: async () => {} }
  const pool = createPool({
    ...quiet,
    min_threads: 1,
    cancel_grace: 60_000,
    name: folder,
    dir: folder,
    types: { polite: { url, config: {} } },
  })
  const dispatcher = createDispatcher({
    tracker,
    pool,
    types: new Map([['polite', polite]]),
    bus,
    max_workers: 1,
    poll: 1_000,
  })
  onTestFinished(async () => {
    await dispatcher.stop(0)
    await pool.stop()
    await store.close()
  })

  let told = 0
  bus.subscribe((event) => {
    if (event.kind !== 'job' || event.verb !== 'claim') return
    told += 1
    bus.publish({ kind: 'cancel_requested', job: event.job })
  })
  dispatcher.start()
  const { id } = await tracker.submit(
    { type: 'polite', payload: '{}', priority: 3, run_at: null, max_attempts: 1, timeout_ms: 60_000 },
    Date.now(),
  )
  const job = await until('it ends', async () => {
    const job = await store.get(id)
    return job?.status === 'cancelled' && job
  })
  expect([told, job.run]).toEqual([1, 1])
})
