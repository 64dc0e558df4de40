// Group commit of the SQLite driver while another program holds the lock of the database.
import { describe, expect, onTestFinished, test } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import { until } from '../support/until.js'
import { openFresh, someJobs } from './open.js'
import { startOther } from './processes/start.js'
import { aJob, ids, NO_BOUNDS, RULES, T0 } from './suite/stage.js'

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
      expect((await store.list({}, 10, null)).jobs).toEqual([])
      await other.kill()
      await Promise.all(writes)
    })
    expect(ids((await store.list({}, 10, null)).jobs)).toEqual(ids(jobs).reverse())
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
    expect((await store.list({}, 10, null)).jobs).toMatchObject([{ id: kept.id, status: 'pending' }])
    await other.kill()
    expect(await store.cancel(kept.id, 'not wanted', T0)).toMatchObject({ answer: 'cancelled' })
    expect(ids((await store.list({}, 10, null)).jobs)).toEqual([kept.id])
  })

  test('has the whole patience, whatever was waited for or refused before', async () => {
    const busy_patience = 1_000
    const { store, file } = openFresh({ busy_patience })
    const other = new Database(file)
    onTestFinished(() => void other.close())
    /** Another connection holds the lock for so long, from before `body` begins. */
    async function lockedFor(ms: number, body: () => Promise<unknown>): Promise<void> {
      other.exec('BEGIN IMMEDIATE')
      const begun = performance.now()
      const [answer] = await Promise.allSettled([
        body(),
        until('the lock was held long enough', () => performance.now() - begun > ms).then(() => other.exec('COMMIT')),
      ])
      if (answer.status === 'rejected') throw answer.reason
    }
    const submit = () => store.submit([aJob()], NO_BOUNDS)
    for (let round = 0; round < 3; round += 1) await lockedFor(busy_patience / 2, submit)
    await lockedFor(busy_patience * 1.5, async () => {
      await expect(submit()).rejects.toMatchObject({ code: 'store_busy' })
      await submit()
    })
    expect((await store.list({}, 10, null)).jobs).toHaveLength(4)
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
