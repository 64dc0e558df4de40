// What the SQLite driver does before it trusts a file: durable settings, one process, and hands off what is not its own.
import { copyFileSync, existsSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type BetterSqlite3 from 'better-sqlite3'
import { describe, expect, onTestFinished, test } from 'vitest'
import { StoreOpenError } from '../../src/store/open-error.js'
import { Database } from '../../src/store/sqlite/binding.js'
import { openDatabase } from '../../src/store/sqlite/open.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import { freshFolder } from '../support/folder.js'
import { startOther } from './processes/start.js'
import { aJob, NO_BOUNDS, RULES, T0 } from './suite/stage.js'

const at = (name: string) => join(freshFolder(), name)

function openRaw(file: string): BetterSqlite3.Database {
  const db = new Database(file)
  onTestFinished(() => void db.close())
  return db
}

/** A database of jobmill with some jobs, closed. */
async function written(jobs = 300): Promise<string> {
  const file = at('jobs.db')
  const store = openSqliteStore(file, RULES)
  await store.submit(
    Array.from({ length: jobs }, () => aJob({ payload: JSON.stringify('x'.repeat(300)) })),
    NO_BOUNDS,
  )
  await store.close()
  return file
}

/** The store refuses to open `file`, in words that match, and leaves the file byte for byte as it is. */
function expectRefused(file: string, words: RegExp): void {
  const parts = [file, `${file}-wal`].filter(existsSync)
  const before = parts.map((part) => readFileSync(part))
  for (let again = 0; again < 2; again += 1) {
    expect(() => openSqliteStore(file, RULES)).toThrow(StoreOpenError)
    expect(() => openSqliteStore(file, RULES)).toThrow(words)
  }
  expect(parts.map((part) => readFileSync(part).equals(before[parts.indexOf(part)] as Buffer))).toEqual(
    parts.map(() => true),
  )
}

describe('durability', () => {
  test('the connection that writes has synchronous=FULL and WAL', () => {
    const file = at('jobs.db')
    const { db, close } = openDatabase(file)
    onTestFinished(close)
    const settings = (connection: BetterSqlite3.Database) =>
      ['journal_mode', 'synchronous'].map((name) => connection.pragma(name, { simple: true }))
    expect(settings(db)).toEqual(['wal', 2])
    // The control: what better-sqlite3 gives of itself, for the same file.
    expect(settings(openRaw(file))).toEqual(['wal', 1])
  })

  test('a database whose WAL mode was taken away gets it back', async () => {
    const file = await written()
    const other = new Database(file)
    expect(other.pragma('journal_mode = DELETE', { simple: true })).toBe('delete')
    other.close()
    const { db, close } = openDatabase(file)
    onTestFinished(close)
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal')
  })
})

describe('one process', () => {
  test('a second one is refused with a clear message while the first lives, and let in after its kill -9', async () => {
    const file = at('jobs.db')
    const first = startOther(['store', file])
    const { held } = (await first.next()) as { held: string[] }
    expect(held).toHaveLength(2)
    expect(() => openSqliteStore(file, RULES)).toThrow(StoreOpenError)
    expect(() => openSqliteStore(file, RULES)).toThrow(/jobs\.db is in use by another process/)
    await first.kill()

    const store = openSqliteStore(file, RULES)
    onTestFinished(store.close)
    const { rescued } = await store.tick({ node: 'second', now: T0 + 1 })
    expect(rescued).toMatchObject([{ id: held[0], status: 'pending', interruptions: 1 }])
    expect(await store.get(held[1] as string)).toMatchObject({ status: 'pending' })
  })

  test('a second process is refused by a store of this one, until that closes', async () => {
    const file = at('jobs.db')
    const store = openSqliteStore(file, RULES)
    onTestFinished(store.close)
    const message = expect.stringMatching(/jobs\.db is in use by another process/)
    expect(await startOther(['store', file]).next()).toEqual({ refused: 'StoreOpenError', message })
    await store.close()
    expect(await startOther(['store', file]).next()).toHaveProperty('held')
  })

  test('a link to the file is the same file', async () => {
    const file = await written()
    const link = at('link.db')
    symlinkSync(file, link)
    const store = openSqliteStore(file, RULES)
    onTestFinished(store.close)
    expect(() => openSqliteStore(link, RULES)).toThrow(/in use by another process/)
  })

  test('a refused start gives the lock back', () => {
    const file = at('jobs.db')
    writeFileSync(file, 'not a database')
    expectRefused(file, /jobs\.db is corrupt/)
  })
})

describe('a file that cannot be trusted is refused and kept', () => {
  test('one that is no database', () => {
    for (const text of ['hello', 'no database '.repeat(1_000), 'SQLite format 3\0'.padEnd(5_000, 'x')]) {
      const file = at('jobs.db')
      writeFileSync(file, text)
      expectRefused(file, /jobs\.db is corrupt .* it is kept as it is\. Restore a backup/)
    }
  })

  test('one with bytes overwritten', async () => {
    const file = await written()
    const bytes = readFileSync(file)
    bytes.fill(0xa5, 4_096 * 3, 4_096 * 20)
    writeFileSync(file, bytes)
    expectRefused(file, /jobs\.db is corrupt/)
  })

  test('one that is truncated', async () => {
    for (const length of [4_096 * 10, 4_096, 3_000, 50]) {
      const file = await written()
      truncateSync(file, length)
      expectRefused(file, /jobs\.db is corrupt/)
    }
  })

  test('one that is truncated while its WAL still holds jobs', async () => {
    for (const length of [4_096 * 10, 0]) {
      const file = await written()
      const other = startOther(['store', file])
      await other.next()
      await other.kill()
      expect(existsSync(`${file}-wal`)).toBe(true)
      truncateSync(file, length)
      expectRefused(file, /jobs\.db is corrupt/)
    }
  })

  test('one of another program', () => {
    const file = at('jobs.db')
    const db = openRaw(file)
    db.exec('CREATE TABLE customers (name TEXT)')
    db.close()
    expectRefused(file, /jobs\.db is a database of another program; choose another/)
  })

  test('one of another program that died, and whose WAL waits for it', () => {
    const [living, file] = [at('jobs.db'), at('jobs.db')]
    const db = openRaw(living)
    db.pragma('journal_mode = WAL')
    db.exec('CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES (1)')
    for (const part of ['', '-wal']) copyFileSync(living + part, file + part)
    expectRefused(file, /jobs\.db is a database of another program/)
  })

  test('one of another program that has no tables yet', () => {
    const file = at('jobs.db')
    const db = openRaw(file)
    db.pragma('application_id = 77')
    db.close()
    expectRefused(file, /database of another program/)
  })

  test('one of a newer jobmill', async () => {
    const file = await written()
    const db = openRaw(file)
    db.pragma('user_version = 9999')
    db.close()
    expectRefused(file, /jobs\.db has schema 9999, this jobmill knows schemas up to \d+: use a newer jobmill/)
  })

  test('one below something that is no folder', () => {
    const file = at('a-file')
    writeFileSync(file, 'text')
    for (const below of [join(file, 'jobs.db'), join(file, 'deeper', 'jobs.db')]) {
      expect(() => openSqliteStore(below, RULES)).toThrow(StoreOpenError)
      expect(() => openSqliteStore(below, RULES)).toThrow(/jobs\.db cannot be opened for writing/)
    }
    expect(readFileSync(file, 'utf8')).toBe('text')
  })

  test('the same files open once they are whole: the control', async () => {
    const file = await written()
    const store = openSqliteStore(file, RULES)
    onTestFinished(store.close)
    expect((await store.list({}, 1_000, null)).jobs).toHaveLength(300)
    const empty = at('empty.db')
    writeFileSync(empty, '')
    await openSqliteStore(empty, RULES).close()
    await openSqliteStore(join(freshFolder(), 'new', 'folder', 'jobs.db'), RULES).close()
  })
})
