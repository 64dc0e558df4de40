// A connection pooler before the server: one whose sessions stay is served, one that hands them round is refused.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { StoreOpenError } from '../../src/store/open-error.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { freePort } from '../../src/torture/postgres.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, complete, NO_BOUNDS, T0, wholly } from './suite/stage.js'

/** Debian has it beside the programs of the system. */
const PGBOUNCER = ['pgbouncer', '/usr/sbin/pgbouncer'].find((name) => spawnSync(name, ['--version']).status === 0)
const missing = postgresMissing ?? (PGBOUNCER === undefined ? 'needs pgbouncer' : null)

describe.skipIf(missing !== null)(`PgBouncer before PostgreSQL (${missing ?? 'a real one'})`, () => {
  const server = usePostgres()

  async function startPooler(pool_mode: string): Promise<string> {
    const { hostname, port, username, password, pathname } = new URL(server.url())
    const own = await freePort()
    const login = `user=${username}${password === '' ? '' : ` password=${password}`}`
    const settings = { listen_addr: '127.0.0.1', listen_port: own, auth_type: 'any', pool_mode, unix_socket_dir: '' }
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
    const folder = freshFolder({
      'pooler.ini': ['[databases]', `* = host=${hostname} port=${port} ${login}`, '[pgbouncer]', ...lines, ''].join(
        '\n',
      ),
    })
    chmodSync(folder, 0o755)
    // It does not run as root.
    const who = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
    const pooler = spawn(String(PGBOUNCER), [...who, `${folder}/pooler.ini`], { stdio: ['ignore', 'ignore', 'pipe'] })
    onTestFinished(async () => {
      const ended = pooler.exitCode === null ? once(pooler, 'exit') : null
      pooler.kill()
      await ended
    })
    let told = ''
    pooler.stderr.on('data', (data) => {
      told += data
    })
    await until('it listens', () => {
      if (pooler.exitCode !== null) throw new Error(told)
      return told.includes('process up')
    })
    return `postgres://${username}@127.0.0.1:${own}${pathname}`
  }
  const open = (source: string, schema: string, node = 'node-1') =>
    openPostgresStore({ source, schema, node, lease: 60_000 }, RULES)

  test('in session mode a job is stored, claimed and ended, and hints of another node are heard', async () => {
    const store = await open(await startPooler('session'), 'pooled')
    onTestFinished(() => store.close())
    const heard: string[] = []
    const nothing = () => {}
    store.cluster?.join({
      about: () => '{}',
      runs: () => [],
      onBeat: nothing,
      onGap: nothing,
      onHint: (text) => void heard.push(text),
    })
    await store.cluster?.beat()
    const job = aJob()
    await store.submit([job], NO_BOUNDS)
    const { claimed } = await store.claim({ node: 'node-1', shares: [wholly('a')], slots: [1], now: T0 })
    expect(claimed).toMatchObject([{ id: job.id, run: 1 }])
    const { ended } = await store.settle([{ id: job.id, run: 1, step: complete, now: T0 + 1 }])
    expect(ended).toMatchObject([{ status: 'completed' }])
    const other = await open(server.url(), 'pooled', 'node-2')
    onTestFinished(() => other.close())
    await other.cluster?.hint('{"pending":true}')
    await until('the hint is heard', () => heard.length > 0)
  })

  test('in transaction mode it is refused, with what to do', async () => {
    const opening = open(await startPooler('transaction'), 'shared')
    await expect(opening).rejects.toThrow(StoreOpenError)
    await expect(opening).rejects.toThrow(/hands sessions of the server round.*Use the session mode of PgBouncer/)
    expect(await server.ask(`SELECT 1 FROM pg_namespace WHERE nspname = 'shared'`)).toEqual([])
  })
})
