// Jobs as an NDJSON stream, beside the same jobs put straight into the store, 1,000 a transaction.
import { request } from 'node:http'
import { createIds } from '../src/ids.js'
import { newJob } from '../src/new-job.js'
import { openSqliteStore } from '../src/store/sqlite/sqlite.js'

const PIECE = 1_000
const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const ROOM = Number.MAX_SAFE_INTEGER
const BOUNDS = { max_pending: ROOM, max_stored: ROOM, max_bytes: ROOM }

/** Jobs a second, from the first byte of the request until the last answer line. */
export function stream(url: string, jobs: number): Promise<number> {
  const lines = Buffer.from(`${JSON.stringify({ type: 'noop', payload: { n: 1 } })}\n`.repeat(PIECE))
  const begun = performance.now()
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-ndjson' }
    const client = request(`${url}/jobs/batch`, { method: 'POST', headers }, (response) => {
      let answers = 0
      response.on('data', (bytes: Buffer) => {
        for (const byte of bytes) if (byte === 0x0a) answers += 1
      })
      response.on('end', () => {
        if (answers === jobs) resolve((jobs * 1_000) / (performance.now() - begun))
        else reject(new Error(`${answers} answers for ${jobs} jobs`))
      })
    })
    client.on('error', reject)
    let sent = 0
    const send = () => {
      while (sent < jobs) {
        sent += PIECE
        if (!client.write(lines)) {
          client.once('drain', send)
          return
        }
      }
      client.end()
    }
    send()
  })
}

/** Jobs a second. */
export async function intoStore(file: string, jobs: number): Promise<number> {
  const store = openSqliteStore(file, RULES)
  const newId = createIds(Date.now)
  const batch_id = newId()
  const fixed = {
    type: 'noop',
    payload: '{"n":1}',
    priority: 3,
    run_at: null,
    max_attempts: 4,
    timeout_ms: 1_000,
    batch_id,
  }
  const begun = performance.now()
  for (let stored = 0; stored < jobs; stored += PIECE) {
    const now = Date.now()
    const piece = Array.from({ length: PIECE }, () => newJob({ id: newId(), ...fixed }, now, RULES))
    await store.submit(piece, BOUNDS, { id: batch_id, created_at: now, open_by: 'bench', on_complete: null })
  }
  const rate = (jobs * 1_000) / (performance.now() - begun)
  await store.close()
  return rate
}
