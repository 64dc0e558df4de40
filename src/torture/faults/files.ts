// The files of the database are damaged while the server does not run.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Bench, createFinding, type Fault, inFolder } from '../bench.js'
import { createLedger, submit } from '../client.js'
import { start, startOrEnd, withServer } from '../server.js'
import { witnessed, witnessFolder } from '../witness.js'

const JOBS = 200
const PAGE = 4_096

type End = 'SIGTERM' | 'SIGKILL'

interface Damage {
  /** How the server ended that wrote the files: only kill −9 leaves a WAL. */
  after: End
  damage(file: string): void
  /** What the refusal must say. */
  says: RegExp
}

const DAMAGES: Record<string, Damage> = {
  'a corrupt page': {
    after: 'SIGTERM',
    damage: (file) => overwrite(file, 5 * PAGE, Buffer.alloc(PAGE, 0xa5)),
    says: /corrupt/,
  },
  'a corrupt header': {
    after: 'SIGTERM',
    damage: (file) => overwrite(file, 0, Buffer.alloc(100, 0xa5)),
    says: /corrupt/,
  },
  'no database at all': {
    after: 'SIGTERM',
    damage: (file) => writeFileSync(file, 'PK\u0003\u0004'.repeat(5_000)),
    says: /corrupt/,
  },
  truncated: {
    after: 'SIGTERM',
    damage: (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
    says: /corrupt/,
  },
  'truncated to nothing': { after: 'SIGKILL', damage: (file) => truncateSync(file, 0), says: /WAL/ },
  'without its -wal': { after: 'SIGKILL', damage: (file) => rmSync(`${file}-wal`), says: /-wal is missing/ },
  'nothing but its -wal': { after: 'SIGKILL', damage: (file) => rmSync(file), says: /WAL/ },
}

export const damagedFiles: Fault = {
  number: 6,
  name: `a damaged database: ${Object.keys(DAMAGES).join(', ')}`,
  expected: 'refuses to start, says what is wrong and with which file, and leaves the files as they are',
  missing: () => null,
  async run(bench) {
    const { check, count, counts, violations } = createFinding()
    for (const end of ['SIGTERM', 'SIGKILL'] as const) {
      await inFolder(witnessFolder(), async (folder) => {
        await fill(bench, folder, end)
        for (const [name, { after, damage, says }] of Object.entries(DAMAGES)) {
          if (after !== end) continue
          await inFolder(witnessFolder(), async (copy) => {
            for (const part of parts(folder)) copyFileSync(join(folder, part), join(copy, part))
            damage(join(copy, 'jobs.db'))
            const before = fingerprint(copy)
            const said = await refusal(bench, copy)
            check(says.test(said) && said.includes('jobs.db'), `${name}: ${said.slice(0, 200)}`)
            check(fingerprint(copy) === before, `${name}: the files were changed`)
            count('refused')
          })
        }
        // The control: without damage the same files are taken.
        await withServer(await start(bench, folder), async (server) => {
          const { jobs } = (await server.call('GET', '/jobs?limit=500')).body
          check(jobs.length === JOBS, `undamaged, ${jobs.length} of ${JOBS} jobs are there`)
        })
      })
    }
    return { rounds: Object.keys(DAMAGES).length, counts, violations }
  },
}

async function fill(bench: Bench, folder: string, end: End): Promise<void> {
  const later = { run_at: '2099-01-01T00:00:00Z' }
  await withServer(await start(bench, folder, { env: witnessed(folder) }), async (server) => {
    for (let i = 0; i < JOBS; i += 1) await submit(server, createLedger(), later)
    await server.kill(end)
  })
}

/** What the server says when it refuses to start. */
async function refusal(bench: Bench, folder: string): Promise<string> {
  const server = await startOrEnd(bench, folder)
  if (server === null) return readFileSync(join(folder, 'server.log'), 'utf8')
  await server.kill('SIGKILL')
  return 'it started'
}

const parts = (folder: string) =>
  ['jobs.db', 'jobs.db-wal', 'jobs.db-shm'].filter((name) => existsSync(join(folder, name)))

/** The -shm is an index that SQLite makes anew whenever it looks, and an empty WAL says nothing. */
function fingerprint(folder: string): string {
  const hash = createHash('sha256')
  for (const part of ['jobs.db', 'jobs.db-wal']) {
    const bytes = existsSync(join(folder, part)) ? readFileSync(join(folder, part)) : ''
    if (bytes.length > 0) hash.update(part).update(bytes)
  }
  return hash.digest('hex')
}

function overwrite(file: string, at: number, bytes: Buffer): void {
  writeSync(openSync(file, 'r+'), bytes, 0, bytes.length, at)
}
