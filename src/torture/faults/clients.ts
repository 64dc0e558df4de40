// Clients that are slow, silent or too many; a queue that is full; slots that all spin.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from '../audit.js'
import { createFinding, type Fault, inFolder, partOf, until, within } from '../bench.js'
import { createLedger, startLoad, submit } from '../client.js'
import { type Server, start, withServer } from '../server.js'
import { witnessed, witnessFolder } from '../witness.js'

const IDLE = 1_000
const HEADER_LIMIT_S = 2
const BODY_LIMIT_S = 3
/** What the checks of the limits and a busy machine add. */
const SLACK_MS = 2_000

export const slowClients: Fault = {
  number: 10,
  name: `slow headers, slow bodies, silent sockets, ${IDLE} idle connections`,
  expected: 'each is ended within its limit, others are answered meanwhile, and half a request stores nothing',
  missing: () => null,
  run: (bench) => {
    const server = { header_timeout: HEADER_LIMIT_S, body_timeout: BODY_LIMIT_S, max_connections: IDLE }
    return inFolder(witnessFolder({ server }), async (folder) => {
      const { check, count, counts, violations } = createFinding()
      const ledger = createLedger()
      return withServer(await start(bench, folder, { env: witnessed(folder) }), async (server) => {
        const clients: Record<string, { text: string; drip: string; limit_s: number }> = {
          'slow headers': { text: 'POST /jobs HTTP/1.1\r\n', drip: 'x', limit_s: HEADER_LIMIT_S },
          'slow bodies': {
            text: 'POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"type":',
            drip: ' ',
            limit_s: BODY_LIMIT_S,
          },
          'silent sockets': { text: '', drip: '', limit_s: HEADER_LIMIT_S },
        }
        const sockets = await idleSockets(server, IDLE)
        const load = startLoad(server, ledger, 4)
        await Promise.all(
          Object.entries(clients).map(async ([name, { text, drip, limit_s }]) => {
            const lasted = await lifetime(server, text, drip)
            check(lasted < limit_s * 1_000 + SLACK_MS, `${name}: the connection lasted ${Math.round(lasted)} ms`)
            count('ended in time')
          }),
        )
        await load.stop()
        for (const socket of sockets) socket.destroy()
        check(ledger.acknowledged.size > 0 && ledger.refused.size + ledger.unknown.size === 0, 'others were held up')
        const report = await audit(server, ledger, folder)
        check(report.counts.stored === report.counts.acknowledged, 'half a request stored a job')
        return { rounds: 3, counts: { ...counts, ...report.counts }, violations: [...violations, ...report.violations] }
      })
    })
  },
}

async function openSocket(server: Pick<Server, 'url'>): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket.resume()
}

async function idleSockets(server: Server, n: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let i = 0; i < n; i += 1) sockets.push(await openSocket(server))
  return sockets
}

/** Milliseconds until the server ends a client that goes on a little at a time, with a FIN or with a reset. */
export async function lifetime(server: Pick<Server, 'url'>, text: string, drip: string): Promise<number> {
  const socket = await openSocket(server)
  const begun = performance.now()
  if (text !== '') socket.write(text)
  const timer = setInterval(() => drip !== '' && socket.write(drip), 200)
  // Not events.once, which rejects where an error comes first: what is sent to a server that has closed is answered with a reset.
  const closed = new Promise((resolve) => socket.on('close', resolve))
  await within('the server ended a slow client', closed).finally(() => clearInterval(timer))
  return performance.now() - begun
}

const SUBMISSIONS = 200_000
const WARM_UP = 20_000
const QUEUE = 100
/** What memory may grow by between the warm-up and the end. */
const GROWTH_MB = 32

/** Holds its slot until it is cancelled. */
const WAITS = `import { once } from 'node:events'
export default { timeout: '20m', async run(_, ctx) {
  const awake = setInterval(() => {}, 1000)
  await once(ctx.signal, 'abort')
  clearInterval(awake)
} }`

export const fullQueue: Fault = {
  number: 12,
  name: `${SUBMISSIONS.toLocaleString('en')} submissions into a full queue`,
  expected: `each is refused with 503 and Retry-After, memory grows by less than ${GROWTH_MB} MB, the queue keeps its jobs`,
  missing: () => (process.platform === 'linux' ? null : 'needs /proc'),
  run: (bench) => {
    const files = witnessFolder({ worker: { queue_size: QUEUE, max_workers: 1 } }, { blocker: WAITS })
    return inFolder(files, async (folder) => {
      const { check, counts, violations } = createFinding()
      const ledger = createLedger()
      return withServer(await start(bench, folder, { env: witnessed(folder) }), async (server) => {
        const blocker = (await server.call('POST', '/jobs', { type: 'blocker' })).body.id
        await until('it runs', async () => (await server.call('GET', `/jobs/${blocker}`)).body.status === 'processing')
        for (let i = 0; i < QUEUE; i += 1) await submit(server, ledger)
        const refused = { status: 503, without: 0, n: 0 }
        const more = partOf(bench, SUBMISSIONS - WARM_UP)
        await refuse(server, WARM_UP, refused)
        const before = memoryMb(server)
        await refuse(server, more, refused)
        const after = memoryMb(server)
        check(
          refused.n === WARM_UP + more,
          `${WARM_UP + more - refused.n} submissions were not refused with queue_full`,
        )
        check(refused.without === 0, `${refused.without} refusals had no Retry-After`)
        check(after - before < GROWTH_MB, `memory grew from ${before} to ${after} MB`)
        await server.call('POST', `/jobs/${blocker}/cancel`)
        const report = await audit(server, ledger, folder)
        const memory = { 'memory before (MB)': before, 'after (MB)': after }
        return {
          rounds: 1,
          counts: { ...counts, ...report.counts, refused: refused.n, ...memory },
          violations: [...violations, ...report.violations],
        }
      })
    })
  },
}

async function refuse(server: Server, n: number, seen: { n: number; without: number }): Promise<void> {
  let left = n
  const client = async () => {
    while (left > 0) {
      left -= 1
      const { status, body, headers } = await server.call('POST', '/jobs', {
        type: 'witness',
        payload: { token: 'none' },
      })
      if (status === 503 && body.code === 'queue_full') seen.n += 1
      if (!(Number(headers['retry-after']) >= 1)) seen.without += 1
    }
  }
  await Promise.all(Array.from({ length: 32 }, client))
}

function memoryMb({ child }: Server): number {
  const kb = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kb) / 1_024)
}

const SLOTS = 10
const READS = 2_000
const P99_MS = 50

export const spinningSlots: Fault = {
  number: 13,
  name: `all ${SLOTS} slots spinning on the CPU`,
  expected: `99 of 100 GET /jobs/:id take less than ${P99_MS} ms`,
  quiet: true,
  missing: () => null,
  run: (bench) => {
    const files = witnessFolder(
      { worker: { max_workers: SLOTS } },
      { endless: 'export default { run() { for (;;); } }' },
    )
    return inFolder(files, async (folder) => {
      const { check, violations } = createFinding()
      return withServer(await start(bench, folder), async (server) => {
        const ids: string[] = []
        for (let i = 0; i < SLOTS; i += 1) ids.push((await server.call('POST', '/jobs', { type: 'endless' })).body.id)
        await until('all spin', async () => (await server.call('GET', '/workers/stats')).body.active_workers === SLOTS)
        const times: number[] = []
        for (let i = 0; i < READS; i += 1) {
          const begun = performance.now()
          await server.call('GET', `/jobs/${ids[i % SLOTS]}`)
          times.push(performance.now() - begun)
          if (i % 20 === 0) await sleep(1)
        }
        times.sort((a, b) => a - b)
        const [p50, p99, longest] = [0.5, 0.99, 1].map((share) =>
          Math.round(times[Math.ceil(share * READS) - 1] as number),
        )
        check((p99 as number) < P99_MS, `p99 was ${p99} ms`)
        const measured = { 'p50 (ms)': p50 as number, 'p99 (ms)': p99 as number, 'longest (ms)': longest as number }
        return { rounds: 1, counts: { reads: READS, ...measured }, violations }
      })
    })
  },
}
