// Group commit of the SQLite driver: one transaction a turn, and what happens when the disk or a lock is in the way.
import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type BetterSqlite3 from 'better-sqlite3'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import { openSqliteStore, type SqliteOptions } from '../../src/store/sqlite/sqlite.js'
import type { Store } from '../../src/store/store.js'
import { freshFolder } from '../support/folder.js'
import { until } from '../support/until.js'
import { canRun, startOther } from './processes/start.js'
import { aJob, complete, expectCountsToFit, ids, NO_BOUNDS, RULES, T0 } from './suite/stage.js'

function openFresh(options: SqliteOptions = {}): { store: Store; file: string; db: BetterSqlite3.Database } {
  const file = join(freshFolder(), 'jobs.db')
  const pragma = vi.spyOn(Database.prototype, 'pragma')
  const store = openSqliteStore(file, RULES, options)
  // The connection that writes is the last one that was set up.
  const db = pragma.mock.contexts.at(-1) as BetterSqlite3.Database
  pragma.mockRestore()
  onTestFinished(store.close)
  return { store, file, db }
}

/** Commits in the WAL: frames that end a transaction, of the present round of the log. */
function commitsOf(file: string): number {
  const wal = readFileSync(`${file}-wal`)
  const frame = 24 + wal.readUInt32BE(8)
  const salt = wal.subarray(16, 24)
  let commits = 0
  for (let at = 32; at + frame <= wal.length; at += frame) {
    if (wal.subarray(at + 8, at + 16).equals(salt) && wal.readUInt32BE(at + 4) !== 0) commits += 1
  }
  return commits
}

const someJobs = (n: number) => Array.from({ length: n }, () => aJob())
const big = () => aJob({ payload: JSON.stringify('x'.repeat(20_000)) })

describe('group commit', () => {
  test('writes of one turn share one transaction', async () => {
    const { store, file } = openFresh()
    const running = someJobs(3)
    await store.submit(running, NO_BOUNDS)
    await store.claim({ node: 'n', types: ['a'], slots: [1, 2, 3], now: T0 })
    const before = commitsOf(file)
    await Promise.all([
      ...someJobs(50).map((job) => store.submit([job], NO_BOUNDS)),
      ...running.map(({ id }) => store.renew([{ id, run: 1, progress: 5, note: null, at: T0 }])),
      ...running.map(({ id }) => store.settle([{ id, run: 1, step: complete, now: T0 }])),
      store.claim({ node: 'n', types: ['a'], slots: [4], now: T0 }),
      store.cancel(running[0]?.id as string, 'not wanted', T0),
      store.tick({ node: 'n', now: T0 }),
    ])
    expect(commitsOf(file) - before).toBe(1)
  })

  test('writes of several turns have a transaction each: the control', async () => {
    const { store, file } = openFresh()
    await store.submit([aJob()], NO_BOUNDS)
    const before = commitsOf(file)
    for (const job of someJobs(5)) await store.submit([job], NO_BOUNDS)
    expect(commitsOf(file) - before).toBe(5)
  })

  test('a write is in the file when its promise resolves', async () => {
    const { store, file } = openFresh()
    const jobs = someJobs(10)
    await Promise.all(jobs.map((job) => store.submit([job], NO_BOUNDS)))
    const copy = join(freshFolder(), 'jobs.db')
    for (const part of ['', '-wal']) copyFileSync(file + part, copy + part)
    const other = openSqliteStore(copy, RULES)
    onTestFinished(other.close)
    expect(ids(await other.list({}, 100, null))).toEqual(ids(jobs).reverse())
  })

  test('a bad row fails alone, and still there is one transaction', async () => {
    const { store, file } = openFresh()
    const [first, ...others] = someJobs(20)
    await store.submit([first as never], NO_BOUNDS)
    const before = commitsOf(file)
    const bad = [first, { ...aJob(), status: 'nonsense' }, { ...aJob(), rank: 0.5 }, { ...aJob(), type: null }]
    const answers = await Promise.allSettled(
      [...others.slice(0, 10), ...bad, ...others.slice(10)].map((job) => store.submit([job as never], NO_BOUNDS)),
    )
    expect(answers.map(({ status }) => status === 'rejected')).toEqual(answers.map((_, i) => i >= 10 && i < 14))
    expect(ids(await store.list({}, 100, null))).toEqual(ids([first as never, ...others]).reverse())
    expect(commitsOf(file) - before).toBe(1)
    await expectCountsToFit(store)
  })

  test('a write after close is refused', async () => {
    const { store } = openFresh()
    await store.close()
    await expect(store.submit([aJob()], NO_BOUNDS)).rejects.toThrow()
  })
})

describe('a full disk', () => {
  test('refuses every write, lets reads go on, and is forgotten when there is room', async () => {
    const { store, file, db } = openFresh()
    const [running, ...accepted] = [aJob({ type: 'r' }), ...Array.from({ length: 5 }, big)]
    for (const job of [running, ...accepted]) await store.submit([job], NO_BOUNDS)
    await store.claim({ node: 'n', types: ['r'], slots: [1], now: T0 })
    const roomy = db.pragma('max_page_count', { simple: true })
    db.pragma(`max_page_count = ${db.pragma('page_count', { simple: true })}`)

    const refused = Array.from({ length: 10 }, big)
    const step = { verb: 'complete', result: JSON.stringify('y'.repeat(20_000)) } as const
    const outcome = { id: running.id, run: 1, step, now: T0 }
    const answers = await Promise.allSettled([
      ...refused.map((job) => store.submit([job], NO_BOUNDS)),
      store.settle([outcome]),
      store.claim({ node: 'n', types: ['a'], slots: [2], now: T0 }),
    ])
    for (const answer of answers) expect(answer).toMatchObject({ reason: { code: 'storage_full' } })
    await expect(store.settle([outcome])).rejects.toMatchObject({ code: 'storage_full' })
    expect(store.failure()).toBeNull()
    expect(ids(await store.list({}, 100, null))).toEqual(ids([running, ...accepted]).reverse())
    expect(await store.get(running.id)).toMatchObject({ status: 'processing' })
    await expectCountsToFit(store)

    db.pragma(`max_page_count = ${roomy}`)
    expect(await store.settle([outcome])).toMatchObject([{ status: 'completed' }])
    for (const job of refused) await store.submit([job], NO_BOUNDS)
    await store.close()
    const again = openSqliteStore(file, RULES)
    onTestFinished(again.close)
    expect(ids(await again.list({}, 100, null))).toEqual(ids([running, ...accepted, ...refused]).reverse())
    await expectCountsToFit(again)
  })

  const in_namespace = ['unshare', '--map-root-user', '--mount']
  const mount = (folder: string) => ['sh', '-c', `mount -t tmpfs -o size=3m none ${folder} && exec "$@"`, 'sh']
  const no_mount = !canRun('unshare', '--map-root-user', '--mount', 'true')

  // Skipped where user namespaces are off: a real small disk cannot be mounted there.
  test.skipIf(no_mount)('that is real loses nothing acknowledged and works again with room', async () => {
    const folder = freshFolder()
    const other = startOther(['fill', folder], [...in_namespace, ...mount(folder)])
    const report = await other.next()
    expect(report).toMatchObject({ code: 'storage_full' })
    const accepted = report.accepted as number
    expect(report).toMatchObject({ present: accepted, stored: accepted })
    const { first, failure } = await other.next()
    expect(first).toBeGreaterThan(10)
    expect(report).toMatchObject({ read_when_full: first })
    expect(failure).toBeNull()
  })
})

describe('a commit that fails for another reason', () => {
  const no_limit = process.platform !== 'linux' || !canRun('prlimit', '--version')

  // Skipped where prlimit is missing: nothing else here makes a write fail with EFBIG.
  test.skipIf(no_limit)('is told as unknown, and nothing is written after it', async () => {
    const file = join(freshFolder(), 'jobs.db')
    const report = await startOther(['break', file, '600000']).next()
    expect(report).toMatchObject({ before: null, codes: ['outcome_unknown', 'outcome_unknown'] })
    expect(report.failure).toMatch(/commit failed \(SQLITE_IOERR/)
    const accepted = report.accepted as string[]
    expect(accepted.length).toBeGreaterThan(5)
    expect(report.readable).toBe(accepted.length)
    const store = openSqliteStore(file, RULES)
    onTestFinished(store.close)
    expect(ids(await store.list({}, 1_000, null))).toEqual(expect.arrayContaining(accepted))
  })
})

describe('a lock of another program', () => {
  /** The longest time, in milliseconds, that the event loop did not turn while `body` went on. */
  async function longestStop(body: () => Promise<unknown>): Promise<number> {
    let longest = 0
    let last = performance.now()
    const beat = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 5)
    await body()
    // The beat after a stop is the one that sees it.
    const end = performance.now()
    await until('the next beat', () => last > end)
    clearInterval(beat)
    return longest
  }

  test('is waited for, and the event loop goes on meanwhile', async () => {
    const { store, file } = openFresh()
    const other = startOther(['lock', file])
    await other.next()
    const jobs = someJobs(5)
    let answered = 0
    const begun = performance.now()
    const longest = await longestStop(async () => {
      const writes = jobs.map((job) => store.submit([job], NO_BOUNDS).then(() => (answered += 1)))
      await until('the lock was held for a while', () => performance.now() - begun > 1_200)
      expect(answered).toBe(0)
      expect(await store.list({}, 10, null)).toEqual([])
      await other.kill()
      await Promise.all(writes)
    })
    expect(ids(await store.list({}, 10, null))).toEqual(ids(jobs).reverse())
    expect(longest).toBeLessThan(250)
  })

  test('stops the event loop of a program that waits inside SQLite: the control', async () => {
    const { file } = openFresh()
    await startOther(['lock', file, '1200']).next()
    const db = new Database(file, { timeout: 5_000 })
    onTestFinished(() => void db.close())
    expect(await longestStop(async () => db.exec('BEGIN IMMEDIATE; COMMIT'))).toBeGreaterThan(250)
  })

  test('that lasts longer than the patience refuses writes as store_busy, until it is gone', async () => {
    const { store, file } = openFresh({ busy_patience: 300 })
    const kept = aJob()
    await store.submit([kept], NO_BOUNDS)
    const other = startOther(['lock', file])
    await other.next()
    const refused = await Promise.allSettled(someJobs(3).map((job) => store.submit([job], NO_BOUNDS)))
    for (const answer of refused) expect(answer).toMatchObject({ reason: { code: 'store_busy' } })
    await expect(store.cancel(kept.id, 'not wanted', T0)).rejects.toMatchObject({ code: 'store_busy' })
    await expect(store.cancel(kept.id, 'not wanted', T0)).rejects.toThrow('another program held the database for 0.3 s')
    expect(store.failure()).toBeNull()
    expect(await store.list({}, 10, null)).toMatchObject([{ id: kept.id, status: 'pending' }])
    await other.kill()
    expect(await store.cancel(kept.id, 'not wanted', T0)).toMatchObject({ answer: 'cancelled' })
    expect(ids(await store.list({}, 10, null))).toEqual([kept.id])
  })

  test('does not keep a close from being done: what waits is answered first', async () => {
    const { store, file } = openFresh({ busy_patience: 10_000 })
    const other = startOther(['lock', file])
    await other.next()
    const job = aJob()
    const asked = store.submit([job], NO_BOUNDS)
    const closed = store.close()
    await other.kill()
    await Promise.all([asked, closed])
    const again = openSqliteStore(file, RULES)
    onTestFinished(again.close)
    expect(await again.get(job.id)).toEqual(job)
  })
})
