// SIGTERM: once and twice, during the start, and with jobs that do not listen.
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from '../audit.js'
import { createFinding, type Fault, inFolder, rounds, until, within } from '../bench.js'
import { createLedger, startLoad } from '../client.js'
import { launch, type Server, start, withServer } from '../server.js'
import { witnessed, witnessFolder } from '../witness.js'

const ROUNDS = 5
const DURING_START = 10
const START_MS = 800
const GRACE_MS = 400
/** Both graces, and what a busy machine adds. */
const LONGEST_STOP_MS = 10_000

export const signals: Fault = {
  number: 9,
  name: 'SIGTERM: under load, twice, during the start, with an endless loop running',
  expected:
    'the process ends with 0 within its graces, released jobs are named in its last line and run again uncharged',
  missing: () => null,
  run: (bench) => {
    // Each round leaves an endless job behind, which runs again.
    const worker = { shutdown_grace: `${GRACE_MS}ms`, cancel_grace: `${GRACE_MS}ms`, max_workers: 2 * ROUNDS }
    const files = witnessFolder({ worker }, { endless: 'export default { run() { for (;;); } }' })
    return inFolder(files, async (folder) => {
      const { check, count, counts, violations } = createFinding()
      const ledger = createLedger()
      const env = witnessed(folder)
      let runs = 0
      for (const round of rounds(bench, ROUNDS)) {
        await withServer(await start(bench, folder, { env }), async (server) => {
          const endless = await startEndless(server)
          const load = startLoad(server, ledger, 4, { rounds: 20 })
          await sleep(100)
          const begun = performance.now()
          server.child.kill('SIGTERM')
          if (round % 2 === 1) server.child.kill('SIGTERM')
          const { code } = await within('the server ended', server.exit)
          await load.stop()
          check(code === 0, `ended with ${code}`)
          check(performance.now() - begun < LONGEST_STOP_MS, `took ${Math.round(performance.now() - begun)} ms to stop`)
          const last = server.log().at(-1)
          const released = Array.isArray(last?.released) ? last.released : []
          check(released.includes(endless), 'the last line of the log does not name the endless job')
          count('released', released.length)
        })
        runs += 1
      }
      for (let i = 0; i < DURING_START; i += 1) {
        const { child, exit } = launch(bench, folder, { env })
        await sleep((START_MS * i) / DURING_START)
        child.kill('SIGTERM')
        const { code, signal } = await within('the server ended', exit)
        // Before Node has come to jobmill's first line, the system's own answer to the signal holds.
        check(code === 0 || signal === 'SIGTERM', `a signal during the start: ended with ${code ?? signal}`)
        count('signals during the start')
      }
      return withServer(await start(bench, folder, { env }), async (server) => {
        await cancelEndless(server, check)
        const report = await audit(server, ledger, folder)
        const all = { ...counts, ...report.counts }
        return { rounds: runs + DURING_START, counts: all, violations: [...violations, ...report.violations] }
      })
    })
  },
}

async function startEndless(server: Server): Promise<string> {
  const { body } = await server.call('POST', '/jobs', { type: 'endless', priority: 1 })
  await until('it runs', async () => (await server.call('GET', `/jobs/${body.id}`)).body.status === 'processing')
  return body.id
}

async function cancelEndless(server: Server, check: (holds: boolean, violation: string) => void): Promise<void> {
  const { jobs } = (await server.call('GET', '/jobs?type=endless&limit=500')).body
  for (const { id } of jobs) {
    const { body } = await server.call('GET', `/jobs/${id}`)
    check(body.attempt <= 1 && body.interruptions === 0, `a released job has ${body.attempt} attempts`)
    await server.call('POST', `/jobs/${id}/cancel`)
  }
}
