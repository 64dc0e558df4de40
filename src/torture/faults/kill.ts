// The process dies: by kill -9 under load, at random moments, again and again.
import { setTimeout as sleep } from 'node:timers/promises'
import { audit } from '../audit.js'
import { type Fault, inFolder, rounds } from '../bench.js'
import { createLedger, startLoad } from '../client.js'
import { start, withServer } from '../server.js'
import { noteCrash, witnessed, witnessFolder } from '../witness.js'

const ROUNDS = 50
const CLIENTS = 8
/** Between the first submission and the kill. */
const LONGEST_LOAD_MS = 400

export const killUnderLoad: Fault = {
  number: 1,
  name: 'kill −9 under load, at random moments',
  expected: 'what was acknowledged ends once; what was interrupted runs again at the next start',
  missing: () => null,
  run: (bench) =>
    inFolder(witnessFolder(), async (folder) => {
      const ledger = createLedger()
      const env = witnessed(folder)
      let round = 0
      for (round of rounds(bench, ROUNDS)) {
        await withServer(await start(bench, folder, { env }), async (server) => {
          const load = startLoad(server, ledger, CLIENTS)
          await sleep(Math.random() * LONGEST_LOAD_MS)
          await server.kill('SIGKILL')
          await load.stop()
        })
        noteCrash(folder)
      }
      return withServer(await start(bench, folder, { env }), async (server) => {
        const { violations, counts } = await audit(server, ledger, folder)
        return { rounds: round + 1, counts, violations }
      })
    }),
}
