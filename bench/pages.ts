// Pages: how long the server takes for each with a million jobs stored, and what many that are open cost submissions.
import { get } from 'node:http'
import { createIds } from '../src/ids.js'
import { newJob } from '../src/new-job.js'
import { openSqliteStore } from '../src/store/sqlite/sqlite.js'

const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const ROOM = Number.MAX_SAFE_INTEGER
const BOUNDS = { max_pending: ROOM, max_stored: ROOM, max_bytes: ROOM }
const PIECE = 5_000
const LOOKS = 60
const PATHS = ['/ui/', '/ui/jobs', '/ui/types', '/metrics']

/** Jobs that are due tomorrow: none runs while pages are measured. */
export async function fillWithScheduled(file: string, jobs: number): Promise<void> {
  const store = openSqliteStore(file, RULES)
  const now = Date.now()
  const newId = createIds(() => now)
  const one = {
    type: 'noop',
    payload: '{}',
    priority: 3,
    run_at: now + 86_400_000,
    max_attempts: 1,
    timeout_ms: 60_000,
  }
  for (let done = 0; done < jobs; done += PIECE) {
    const piece = Array.from({ length: PIECE }, () => newJob({ ...one, id: newId() }, now, RULES))
    await store.submit(piece, BOUNDS)
  }
  await store.close()
}

/** Milliseconds from the request to the last byte of its answer, shortest first, by path. */
export async function looks(url: string): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = {}
  for (const path of PATHS) {
    const all: number[] = []
    for (let i = 0; i < LOOKS; i += 1) {
      const begun = performance.now()
      await (await fetch(url + path)).arrayBuffer()
      all.push(performance.now() - begun)
    }
    times[path] = all.toSorted((a, b) => a - b)
  }
  return times
}

/** Overviews that are kept up to date, and read. Answers how to close them. */
export async function openPages(url: string, pages: number): Promise<() => void> {
  const requests = Array.from({ length: pages }, () => get(`${url}/ui/live/`))
  await Promise.all(
    requests.map(
      (request) =>
        new Promise<void>((resolve, reject) => {
          request.once('error', reject)
          request.once('response', (response) => {
            response.on('data', () => {})
            request.off('error', reject).on('error', () => {})
            response.on('error', () => {})
            resolve()
          })
        }),
    ),
  )
  return () => {
    for (const request of requests) request.destroy()
  }
}
