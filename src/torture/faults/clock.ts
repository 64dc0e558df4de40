// The time of day jumps by a day, forwards and backwards, while jobs run and wait.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { audit } from '../audit.js'
import { createFinding, type Fault, inFolder, until } from '../bench.js'
import { createLedger, submit } from '../client.js'
import { type LaunchOptions, type Server, start, withServer } from '../server.js'
import { witnessed, witnessFolder } from '../witness.js'

const DAY_MS = 86_400_000
const JOBS = 50

/** Loaded before the program: its time of day is off by what the file says, read anew at SIGUSR2. */
const SHIFT = `import { readFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
const now = Date.now
const read = () => Number(readFileSync(process.env.TORTURE_SHIFT, 'utf8'))
if (isMainThread) {
  let shift = read()
  Date.now = () => now() + shift
  process.on('SIGUSR2', () => { shift = read() })
}`

/** Starts it with a time of day that is off by so many milliseconds; `name` is of the file that says so. */
export function shiftedClock(folder: string, shift: number, name = 'shift'): LaunchOptions {
  const module = join(folder, 'shift.mjs')
  writeFileSync(module, SHIFT)
  writeFileSync(join(folder, name), String(shift))
  return { env: { TORTURE_SHIFT: join(folder, name) }, node: ['--import', pathToFileURL(module).href] }
}

export const movedClock: Fault = {
  number: 11,
  name: 'the clock moved by a day, both ways, and back',
  expected: 'nothing is lost or run twice, no running job is timed out, delayed jobs run when their time comes',
  missing: () => null,
  run: (bench) =>
    inFolder(witnessFolder(), async (folder) => {
      const { check, count, counts, violations } = createFinding()
      const ledger = createLedger()
      const { env, node } = shiftedClock(folder, 0)
      return withServer(await start(bench, folder, { env: { ...witnessed(folder), ...env }, node }), async (server) => {
        const long = await submit(server, ledger, { rounds: 5_000, timeout: '30s' })
        await submit(server, ledger, { delay: '1h' })
        for (const shift of [DAY_MS, -DAY_MS, 0]) {
          await move(server, folder, shift)
          count('jumps')
          for (let i = 0; i < JOBS; i += 1) await submit(server, ledger)
          const delayed = await submit(server, ledger, { delay: '1s' })
          await until('a job delayed by a second is completed', async () => isCompleted(server, delayed.id))
          check((await server.call('GET', '/livez')).status === 200, 'it is not alive any more')
        }
        const { body } = await server.call('GET', `/jobs/${long.id}`)
        check(body.error === null && body.attempt <= 1, 'a running job was timed out by the clock')
        const report = await audit(server, ledger, folder)
        return { rounds: 3, counts: { ...counts, ...report.counts }, violations: [...violations, ...report.violations] }
      })
    }),
}

async function move(server: Server, folder: string, shift: number): Promise<void> {
  writeFileSync(join(folder, 'shift'), String(shift))
  server.child.kill('SIGUSR2')
  await until('the clock has moved', async () => {
    const { body } = await server.call('POST', '/jobs', { type: 'witness', payload: { token: 'clock' } })
    return Math.abs(Date.parse(body.created_at) - Date.now() - shift) < DAY_MS / 2
  })
}

async function isCompleted(server: Server, id: string | null): Promise<boolean> {
  return (await server.call('GET', `/jobs/${id}`)).body.status === 'completed'
}
