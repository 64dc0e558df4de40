// No space is left: on a small disk, and inside the database itself; then there is room again.
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { sqlitePackage } from '../../sqlite-package.js'
import { audit } from '../audit.js'
import { type Bench, createFinding, type Fault, inFolder, until } from '../bench.js'
import { createLedger, type Ledger, submit } from '../client.js'
import { type LaunchOptions, type Server, start, withServer } from '../server.js'
import { command, missingMount } from '../tools.js'
import { noteCrash, witnessed, witnessFolder } from '../witness.js'

const DISK_MB = 48
/** What the filler leaves, beside the ballast that the server makes. */
const LEFT_BYTES = 4 * 1_048_576
const PAD = 'x'.repeat(20_000)
const MOST = 5_000

type Checks = ReturnType<typeof createFinding>

export const fullDisk: Fault = {
  number: 4,
  name: 'disk full: a small tmpfs, and max_page_count; then space returns',
  expected: 'new jobs are refused with 507, reads and outcomes go on, also after kill −9; all goes on with space',
  missing: missingMount,
  run: (bench) =>
    inFolder(witnessFolder({ data: { min_free: 0 } }), async (folder) => {
      const checks = createFinding()
      await onTmpfs(join(folder, 'disk'), (disk) => fillDisk(bench, folder, disk, checks))
      await inFolder(witnessFolder({ data: { min_free: 0 } }), (other) => tryFullDatabase(bench, other, checks))
      return { rounds: 2, counts: checks.counts, violations: checks.violations }
    }),
}

/** A disk of its own, gone afterwards. */
async function onTmpfs(at: string, body: (disk: string) => Promise<void>): Promise<void> {
  command('mkdir', '-p', at)
  command('mount', '-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'none', at)
  try {
    await body(at)
  } finally {
    command('umount', at)
  }
}

async function fillDisk(bench: Bench, folder: string, disk: string, checks: Checks): Promise<void> {
  const env = {
    ...witnessed(folder),
    JOBMILL_DATA__DATABASE__MASTER__SOURCE: join(disk, 'jobs.db'),
    JOBMILL_DATA__ARTIFACTS__DIR: join(disk, 'artifacts'),
  }
  const filler = join(disk, 'filler')
  const ledger = createLedger()
  await withServer(await start(bench, folder, { env }), async (server) => {
    const { bsize, bavail } = statfsSync(disk)
    writeFileSync(filler, Buffer.alloc(bsize * bavail - LEFT_BYTES))
    await fillUp(server, ledger, checks)
    await server.kill('SIGKILL')
    noteCrash(folder)
  })
  await withServer(await start(bench, folder, { env }), async (server) => {
    // Whether it takes jobs now depends on what the crash left.
    await submit(server, ledger)
    rmSync(filler)
    await until('jobs are taken again', async () => (await submit(server, ledger)).status === 202)
    await finish(server, ledger, folder, checks)
  })
}

/**
 * SQLite itself refuses: there is room on the disk, but the file may not grow.
 *
 * It is the connection that is told so, by a module that is loaded before the program.
 */
async function tryFullDatabase(bench: Bench, folder: string, checks: Checks): Promise<void> {
  const preload = join(folder, 'full.mjs')
  writeFileSync(preload, fullDatabase(bench))
  const options: LaunchOptions = { env: witnessed(folder), node: ['--import', pathToFileURL(preload).href] }
  const ledger = createLedger()
  await withServer(await start(bench, folder, options), async (server) => {
    await fillUp(server, ledger, checks)
    server.child.kill('SIGUSR2')
    await until('jobs are taken again', async () => (await submit(server, ledger)).status === 202)
    await finish(server, ledger, folder, checks)
  })
}

const fullDatabase = (bench: Bench) => `import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
const Database = createRequire(${JSON.stringify(bench.main)})(${JSON.stringify(sqlitePackage())})
const { pragma } = Database.prototype
if (isMainThread) Database.prototype.pragma = function (text, options) {
  const answer = pragma.call(this, text, options)
  if (text === 'synchronous = FULL') {
    pragma.call(this, 'max_page_count = 300')
    process.on('SIGUSR2', () => pragma.call(this, 'max_page_count = 1000000'))
  }
  return answer
}`

/** Submits until it is refused, while jobs run; then reads, and looks that what runs comes to its end. */
async function fillUp(server: Server, ledger: Ledger, { check, count }: Checks): Promise<void> {
  const later = { delay: '1h', pad: PAD }
  const first = await submit(server, ledger, { rounds: 500 })
  let status = 202
  for (let i = 0; i < MOST && status === 202; i += 1) status = (await submit(server, ledger, later)).status
  check(status === 507, `a submission on the full disk was answered with ${status}`)
  for (let i = 0; i < 20; i += 1) await submit(server, ledger, later)
  const { jobs } = (await server.call('GET', '/jobs?limit=500')).body
  check(jobs.length > 0, 'the jobs cannot be listed')
  await until('the running job is completed on the full disk', async () => {
    return (await server.call('GET', `/jobs/${first.id}`)).body.status === 'completed'
  })
  count('outcomes stored while full')
}

async function finish(server: Server, ledger: Ledger, folder: string, { violations, count }: Checks): Promise<void> {
  for (const id of ledger.acknowledged.values()) {
    const { body } = await server.call('GET', `/jobs/${id}`)
    if (body.status === 'scheduled') await server.call('POST', `/jobs/${id}/cancel`)
  }
  const report = await audit(server, ledger, folder)
  violations.push(...report.violations)
  for (const [name, n] of Object.entries(report.counts)) count(name, n)
}
