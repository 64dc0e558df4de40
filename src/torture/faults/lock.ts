// Another program holds the write lock of the database.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sqlitePackage } from '../../sqlite-package.js'
import { audit } from '../audit.js'
import { type Bench, createFinding, type Fault, inFolder, until } from '../bench.js'
import { createLedger, startLoad, submit } from '../client.js'
import { type Server, start, withServer } from '../server.js'
import { witnessed, witnessFolder } from '../witness.js'

const LOCKED_MS = 20_000
/** No answer to a read may take longer. */
const FREEZE_MS = 250

export const foreignLock: Fault = {
  number: 5,
  name: `the database locked by another process for ${LOCKED_MS / 1_000} s`,
  expected: `writes are refused with a time to come back, reads take less than ${FREEZE_MS} ms, all goes on afterwards`,
  quiet: true,
  missing: () => null,
  run: (bench) =>
    inFolder(witnessFolder(), async (folder) => {
      const { check, count, counts, violations } = createFinding()
      const ledger = createLedger()
      return withServer(await start(bench, folder, { env: witnessed(folder) }), async (server) => {
        for (let i = 0; i < 20; i += 1) await submit(server, ledger, { rounds: 100 })
        const unlock = await lock(bench, join(folder, 'jobs.db'))
        const load = startLoad(server, ledger, 8)
        const slowest = await slowestRead(server, LOCKED_MS).finally(unlock)
        await load.stop()
        check(slowest < FREEZE_MS, `a read took ${Math.round(slowest)} ms while the database was locked`)
        check(ledger.refused.size > 0, 'no submission was refused: was the database locked?')
        await until('submissions are taken again', async () => (await submit(server, ledger)).status === 202)
        count('slowest read (ms)', Math.round(slowest))
        const report = await audit(server, ledger, folder)
        return { rounds: 1, counts: { ...counts, ...report.counts }, violations: [...violations, ...report.violations] }
      })
    }),
}

/** A process of its own takes the lock; answers how it gives it back. */
async function lock(bench: Bench, file: string): Promise<() => Promise<void>> {
  const sqlite = createRequire(bench.main).resolve(sqlitePackage())
  const script = `const db = new (require(${JSON.stringify(sqlite)}))(${JSON.stringify(file)}, { timeout: 10000 })
    db.exec('BEGIN IMMEDIATE'); console.log('locked'); process.stdin.on('end', () => process.exit()).resume()`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const locked = await Promise.race([once(child.stdout, 'data'), ended])
  if (locked === undefined) throw new Error('the database could not be locked')
  return () => {
    child.stdin.end()
    return ended
  }
}

async function slowestRead(server: Server, ms: number): Promise<number> {
  let slowest = 0
  for (const end = performance.now() + ms; performance.now() < end; await sleep(5)) {
    const begun = performance.now()
    await server.call('GET', '/workers/stats')
    slowest = Math.max(slowest, performance.now() - begun)
  }
  return slowest
}
