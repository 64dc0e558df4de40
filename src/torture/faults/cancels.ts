// Cancels that race the end of the job, that are followed by kill −9, and that come during backoff.
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from '../audit.js'
import { type Bench, createFinding, type Fault, inFolder, partOf, until } from '../bench.js'
import { createLedger, type Ledger, submit } from '../client.js'
import { type Server, start, withServer } from '../server.js'
import { noteCrash, readWitness, witnessed, witnessFolder } from '../witness.js'

const RACES = 1_000
const AT_ONCE = 20
const CRASHES = 10

type Checks = ReturnType<typeof createFinding>

export const cancels: Fault = {
  number: 8,
  name: `${RACES} cancels racing completion; cancel, then kill −9; cancel during backoff`,
  expected: 'a cancel that was accepted wins, also after a crash; a job that was final before says so',
  missing: () => null,
  run: (bench) =>
    inFolder(
      witnessFolder(
        { worker: { cancel_grace: 60 } },
        {
          fails: `export default { retry_count: 3, backoff: { base: '1h', max: '1h' }, run() { throw new Error('no luck') } }`,
        },
      ),
      async (folder) => {
        const checks = createFinding()
        const ledger = createLedger()
        const env = witnessed(folder)
        const [races, crashes] = [partOf(bench, RACES), partOf(bench, CRASHES)]
        await withServer(await start(bench, folder, { env }), async (server) => {
          await race(server, races, ledger, checks)
          await duringBackoff(server, checks)
          await server.kill('SIGTERM')
        })
        await thenKill(bench, folder, crashes, ledger, checks)
        return withServer(await start(bench, folder, { env }), async (server) => {
          const report = await audit(server, ledger, folder)
          const violations = [...checks.violations, ...report.violations]
          return { rounds: races + crashes + 1, counts: { ...checks.counts, ...report.counts }, violations }
        })
      },
    ),
}

async function race(server: Server, races: number, ledger: Ledger, { check, count }: Checks): Promise<void> {
  const racer = async () => {
    for (let i = 0; i < races / AT_ONCE; i += 1) {
      const { id } = await submit(server, ledger, { rounds: 1 })
      await sleep(Math.random() * 10)
      const { status } = await server.call('POST', `/jobs/${id}/cancel`)
      const job = await until(`${id} is final`, async () => {
        const { body } = await server.call('GET', `/jobs/${id}`)
        return ['completed', 'failed', 'cancelled'].includes(body.status) && body
      })
      const expected = status === 409 ? 'completed' : 'cancelled'
      check(job.status === expected, `a cancel answered ${status}, the job is ${job.status}`)
      count(expected === 'cancelled' ? 'cancelled in time' : 'completed before')
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, racer))
}

async function duringBackoff(server: Server, { check }: Checks): Promise<void> {
  const { body } = await server.call('POST', '/jobs', { type: 'fails' })
  await until(
    'it waits for its next attempt',
    async () => (await server.call('GET', `/jobs/${body.id}`)).body.status === 'retrying',
  )
  const { status, body: job } = await server.call('POST', `/jobs/${body.id}/cancel`)
  check(
    status === 200 && job.status === 'cancelled',
    `a cancel during backoff answered ${status}, the job is ${job.status}`,
  )
}

/** The handler looks at its signal, but the process is dead before. */
async function thenKill(
  bench: Bench,
  folder: string,
  crashes: number,
  ledger: Ledger,
  { check, count }: Checks,
): Promise<void> {
  const env = witnessed(folder)
  const cancelled: (string | null)[] = []
  for (let crash = 0; crash < crashes; crash += 1) {
    await withServer(await start(bench, folder, { env }), async (server) => {
      const { id } = await submit(server, ledger, { rounds: 100_000 })
      await until('it runs', async () => (await server.call('GET', `/jobs/${id}`)).body.status === 'processing')
      const { status } = await server.call('POST', `/jobs/${id}/cancel`)
      check(status === 202 || status === 200, `a cancel of a running job answered ${status}`)
      cancelled.push(id)
      await server.kill('SIGKILL')
    })
    noteCrash(folder)
    count('cancelled, then killed')
  }
  await withServer(await start(bench, folder, { env }), async (server) => {
    for (const id of cancelled) {
      const { body } = await server.call('GET', `/jobs/${id}`)
      const runs = readWitness(folder).filter((line) => line.id === id && line.what === 'begin').length
      check(
        body.status === 'cancelled' && runs <= 1,
        `cancelled before the crash, ${id} is ${body.status} after ${runs} runs`,
      )
    }
    await server.kill('SIGTERM')
  })
}
