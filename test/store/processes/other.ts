// A process of its own, beside the one that tests: `other.ts MODE PATH [MORE]`. It tells on stdout what it came to.
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Database } from '../../../src/store/sqlite/binding.js'
import { openSqliteStore } from '../../../src/store/sqlite/sqlite.js'
import type { Store } from '../../../src/store/store.js'
import { aJob, NO_BOUNDS, RULES, T0, wholly } from '../suite/stage.js'

const [mode, path = '', more] = process.argv.slice(2)
const PAYLOAD = JSON.stringify('x'.repeat(20_000))

function tell(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

/**
 * Opens the store as jobmill does, puts in two jobs, runs one, and stays. A service reaches its store through its timers
 * at least; that alone must keep the lock, whatever is collected.
 */
async function holdStore(): Promise<void> {
  const store = openSqliteStore(path, RULES)
  const jobs = [aJob(), aJob()]
  await store.submit(jobs, NO_BOUNDS)
  await store.claim({ node: 'other', shares: [wholly('a')], slots: [1], now: T0 })
  setInterval(store.failure, 1_000)
  setImmediate(() => {
    collectGarbage()
    tell({ held: jobs.map(({ id }) => id) })
  })
}

function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error('to be run with --expose-gc')
  globalThis.gc()
}

/** Holds the write lock of the database until it is killed, or for so many milliseconds. */
function holdLock(): void {
  const db = new Database(path)
  db.exec('BEGIN IMMEDIATE')
  tell({ held: path })
  setTimeout(() => db.exec('COMMIT'), Number(more ?? 2 ** 30))
}

/** Fills a small disk, makes room again, and starts anew. */
async function fillDisk(): Promise<void> {
  const file = join(path, 'jobs.db')
  const ballast = join(path, 'ballast')
  writeFileSync(ballast, Buffer.alloc(1_000_000, 1))
  let store = openSqliteStore(file, RULES)
  const filled = await submitUntilRefused(store)
  const again = await submitUntilRefused(store)
  const read_when_full = await present(store, filled.accepted)
  rmSync(ballast)
  const last = aJob({ payload: PAYLOAD })
  await store.submit([last], NO_BOUNDS)
  const accepted = [...filled.accepted, ...again.accepted, last.id]
  await store.close()
  store = openSqliteStore(file, RULES)
  const stored = (await store.list({}, 100_000, null)).jobs.length
  tell({ ...filled, accepted: accepted.length, read_when_full, present: await present(store, accepted), stored })
  tell({ first: filled.accepted.length, failure: store.failure() })
  await store.close()
}

/** The file may not grow above so many bytes: writing answers EFBIG, which is no full disk. */
async function breakWrites(): Promise<void> {
  const store = openSqliteStore(path, RULES)
  const before = store.failure()
  // The soft limit only, so that it can be lifted again by anybody.
  const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`])
  limit(more ?? '0')
  const first = await submitUntilRefused(store)
  limit('unlimited')
  const second = await submitUntilRefused(store)
  const readable = await present(store, first.accepted)
  const codes = [first.code, second.code]
  const report = { before, codes, accepted: first.accepted, accepted_later: second.accepted, readable }
  tell({ ...report, failure: store.failure() })
}

async function submitUntilRefused(store: Store): Promise<{ accepted: string[]; code: string | null }> {
  const accepted: string[] = []
  for (let i = 0; i < 1_000; i += 1) {
    const job = aJob({ payload: PAYLOAD })
    try {
      await store.submit([job], NO_BOUNDS)
      accepted.push(job.id)
    } catch (error) {
      return { accepted, code: (error as { code: string }).code }
    }
  }
  return { accepted, code: null }
}

async function present(store: Store, ids: string[]): Promise<number> {
  const jobs = await Promise.all(ids.map(store.get))
  return jobs.filter((job) => job?.payload === PAYLOAD).length
}

try {
  if (mode === 'store') await holdStore()
  if (mode === 'lock') holdLock()
  if (mode === 'fill') await fillDisk()
  if (mode === 'break') await breakWrites()
} catch (error) {
  const { name, message } = error as Error
  tell({ refused: name, message })
  process.exitCode = 1
}
