// The job type `export` in real threads and processes: terminated in the middle of a query, and with a million rows.
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { Database } from '../../src/store/sqlite/binding.js'
import { freshFolder } from '../support/folder.js'
import { residentBytes, startProcess } from '../support/process.js'
import { until } from '../support/until.js'

const EXPORT = new URL('../../dist/workers/export/index.js', import.meta.url).href

function fill(file: string, rows: number): void {
  const db = new Database(file)
  db.pragma('journal_mode = WAL')
  db.exec(`CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, email TEXT, total REAL, paid INTEGER, note TEXT,
      ordered_at TEXT, status TEXT);
    WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${rows})
    INSERT INTO orders SELECT n, 'Customer ' || n, 'user' || n || '@example.com', n / 100.0, n % 2, 'with "quotes", commas',
      '2024-01-' || printf('%02d', n % 28 + 1), 'sent' FROM s`)
  db.close()
}

/** Runs in the thread until it is terminated; says when it is inside the query. */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { createWriteStream } = require('node:fs')
  import(workerData.url).then(({ default: type }) => {
    const config = type.config.parse(workerData.config)
    const signal = new AbortController().signal
    let told = false
    const progress = async () => { if (!told) parentPort.postMessage('rows'); told = true }
    const ctx = { config, signal, progress, resolve: (path) => path, artifact: () => createWriteStream('/dev/null') }
    parentPort.postMessage('begun')
    return type.run(type.payload(config).parse({ source: 'shop', format: 'csv' }), ctx)
  })`

test('42 threads terminated in the middle of a query harm neither the process nor the file', async () => {
  const file = join(freshFolder(), 'shop.db')
  fill(file, 200_000)
  const sources = {
    reading: { driver: 'sqlite3', source: file, table: 'orders' },
    counting: { driver: 'sqlite3', source: file, query: 'SELECT a.id FROM orders a, orders b' },
  }
  // Each kind three times after each number of milliseconds.
  for (let i = 0; i < 42; i += 1) {
    const reading = i % 2 === 0
    const shop = reading ? sources.reading : sources.counting
    const thread = new Worker(THREAD, { eval: true, workerData: { url: EXPORT, config: { sources: { shop } } } })
    await new Promise<void>((resolve, reject) => {
      thread.once('error', reject)
      thread.on('message', (message) => {
        if (message === (reading ? 'rows' : 'begun')) setTimeout(resolve, i % 7)
      })
    })
    await thread.terminate()
  }
  const db = new Database(file, { readonly: true })
  expect(db.pragma('quick_check', { simple: true })).toBe('ok')
  expect(db.prepare('SELECT count(*) AS n FROM orders').all()).toEqual([{ n: 200_000 }])
  db.close()
}, 120_000)

test('a service exports 1,000,000 rows within 150 MB of memory, and what it wrote is all there', async () => {
  const sources = { shop: { driver: 'sqlite3', source: 'shop.db', table: 'orders' } }
  const folder = freshFolder({ 'config.yaml': { worker: { max_workers: 1 }, jobs: { export: { sources } } } })
  fill(join(folder, 'shop.db'), 1_000_000)
  const { child, url, submit, reaches } = await startProcess(folder)
  const idle = await residentBytes(Number(child.pid))
  const { id } = await submit({ type: 'export', payload: { format: 'csv', source: 'shop' } })
  let peak = 0
  const job = await until(
    'the export ends',
    async () => {
      peak = Math.max(peak, await residentBytes(Number(child.pid)))
      return reachesNow(url, id)
    },
    120_000,
  )
  expect(job).toMatchObject({ status: 'completed', progress_note: '1,000,000 of 1,000,000 rows' })
  await reaches(id, 'completed')
  // Node 24 takes more before it has done anything.
  expect(peak / 1e6).toBeLessThan(Math.max(150, idle / 1e6 + 45))
  expect(peak / 1e6).toBeGreaterThan(20)

  const response = await fetch(`${url}/jobs/${id}/artifacts/shop.csv`)
  let lines = 0
  for await (const chunk of response.body ?? []) for (const byte of chunk) if (byte === 10) lines += 1
  expect(lines).toBe(1_000_001)
}, 180_000)

async function reachesNow(url: string, id: string) {
  const job = (await (await fetch(`${url}/jobs/${id}`)).json()) as { status: string; progress_note: string }
  return ['completed', 'failed'].includes(job.status) && job
}
