// Group commit of the SQLite driver: one transaction a turn, and what happens when the disk is in the way.
import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import { freshFolder } from '../support/folder.js'
import { mountSmallDisk, no_small_disk } from '../support/small-disk.js'
import { openAt, openFresh, someJobs } from './open.js'
import { canRun, startOther } from './processes/start.js'
import { aJob, complete, expectCountsToFit, ids, NO_BOUNDS, RULES, T0, wholly } from './suite/stage.js'

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

const big = () => aJob({ payload: JSON.stringify('x'.repeat(20_000)) })

describe('group commit', () => {
  test('writes of one turn share one transaction', async () => {
    const { store, file } = openFresh()
    const running = someJobs(3)
    await store.submit(running, NO_BOUNDS)
    await store.claim({ node: 'n', shares: [wholly('a')], slots: [1, 2, 3], now: T0 })
    const before = commitsOf(file)
    await Promise.all([
      ...someJobs(50).map((job) => store.submit([job], NO_BOUNDS)),
      ...running.map(({ id }) => store.renew([{ id, run: 1, progress: 5, note: null, at: T0 }])),
      ...running.map(({ id }) => store.settle([{ id, run: 1, step: complete, now: T0 }])),
      store.claim({ node: 'n', shares: [wholly('a')], slots: [4], now: T0 }),
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
    expect(ids((await other.list({}, 100, null)).jobs)).toEqual(ids(jobs).reverse())
  })

  test('goes through a connection with synchronous=FULL, at each open and after each write', async () => {
    const { store, file, db } = openFresh()
    await store.submit([aJob()], NO_BOUNDS)
    expect(db.pragma('synchronous', { simple: true })).toBe(2)
    await store.close()
    const again = openAt(file)
    await again.store.submit([aJob()], NO_BOUNDS)
    expect(again.db.pragma('synchronous', { simple: true })).toBe(2)
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
    expect(ids((await store.list({}, 100, null)).jobs)).toEqual(ids([first as never, ...others]).reverse())
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
    await store.claim({ node: 'n', shares: [wholly('r')], slots: [1], now: T0 })
    const roomy = db.pragma('max_page_count', { simple: true })
    db.pragma(`max_page_count = ${db.pragma('page_count', { simple: true })}`)

    const refused = Array.from({ length: 10 }, big)
    const step = { verb: 'complete', result: JSON.stringify('y'.repeat(20_000)), artifacts: [] } as const
    const outcome = { id: running.id, run: 1, step, now: T0 }
    const answers = await Promise.allSettled([
      ...refused.map((job) => store.submit([job], NO_BOUNDS)),
      store.settle([outcome]),
      store.claim({ node: 'n', shares: [wholly('a')], slots: [2], now: T0 }),
    ])
    for (const answer of answers) expect(answer).toMatchObject({ reason: { code: 'storage_full' } })
    await expect(store.settle([outcome])).rejects.toMatchObject({ code: 'storage_full' })
    expect(store.failure()).toBeNull()
    expect(ids((await store.list({}, 100, null)).jobs)).toEqual(ids([running, ...accepted]).reverse())
    expect(await store.get(running.id)).toMatchObject({ status: 'processing' })
    await expectCountsToFit(store)

    db.pragma(`max_page_count = ${roomy}`)
    expect((await store.settle([outcome])).ended).toMatchObject([{ status: 'completed' }])
    for (const job of refused) await store.submit([job], NO_BOUNDS)
    await store.close()
    const again = openSqliteStore(file, RULES)
    onTestFinished(again.close)
    expect(ids((await again.list({}, 100, null)).jobs)).toEqual(ids([running, ...accepted, ...refused]).reverse())
    await expectCountsToFit(again)
  })

  test('that meets a bad row in the same turn still refuses every write', async () => {
    const { store, db } = openFresh()
    const known = aJob()
    await store.submit([known], NO_BOUNDS)
    db.pragma(`max_page_count = ${db.pragma('page_count', { simple: true })}`)
    const answers = await Promise.allSettled(
      [known, ...Array.from({ length: 5 }, big), aJob()].map((job) => store.submit([job], NO_BOUNDS)),
    )
    for (const answer of answers) expect(answer).toMatchObject({ reason: { code: 'storage_full' } })
    expect(ids((await store.list({}, 100, null)).jobs)).toEqual([known.id])
    await expectCountsToFit(store)
  })

  // Skipped where user namespaces are off: a real small disk cannot be mounted there.
  test.skipIf(no_small_disk)('that is real loses nothing acknowledged and works again with room', async () => {
    const folder = freshFolder()
    const disk = await mountSmallDisk(folder, '3m')
    const other = startOther(['fill', folder], disk.within(process.cwd()))
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
  test.skipIf(no_limit)(
    'is told as unknown, and nothing is written after it, not even when writing works again',
    async () => {
      const file = join(freshFolder(), 'jobs.db')
      const report = await startOther(['break', file, '1000000']).next()
      expect(report).toMatchObject({ before: null, codes: ['outcome_unknown', 'outcome_unknown'], accepted_later: [] })
      expect(report.failure).toMatch(/commit failed \(SQLITE_IOERR/)
      const accepted = report.accepted as string[]
      expect(accepted.length).toBeGreaterThan(5)
      expect(report.readable).toBe(accepted.length)
      const store = openSqliteStore(file, RULES)
      onTestFinished(store.close)
      expect(ids((await store.list({}, 1_000, null)).jobs)).toEqual(expect.arrayContaining(accepted))
    },
  )
})
