// jobmill migrate as a process of its own, killed again and again: each row comes once, whenever that was.
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { JobWithPayload } from '../../src/job.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import type { Store } from '../../src/store/store.js'
import { aJob, NO_BOUNDS, RULES, wholly } from '../store/suite/stage.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { launch, startProcess } from '../support/process.js'
import type { JobBody } from '../support/service.js'
import { until } from '../support/until.js'

const JOBS = 12_000
const RUNS = 2_000
/** With words, so that pieces end by size as well as by number. */
const payload = (i: number) => JSON.stringify({ i, words: 'wörter '.repeat(i % 100) })

async function fillLarge(file: string): Promise<void> {
  const store = openSqliteStore(file, RULES)
  const jobs = Array.from({ length: JOBS }, (_, i) => aJob({ payload: payload(i), tags: { shard: String(i % 7) } }))
  for (let i = 0; i < JOBS; i += 1_000) await store.submit(jobs.slice(i, i + 1_000), NO_BOUNDS)
  const slots = Array.from({ length: RUNS }, (_, i) => i + 1)
  const now = Date.now()
  const { claimed } = await store.claim({ node: 'old', shares: [wholly('a')], slots, now })
  await store.append(
    claimed.map(({ id, run }) => ({ id, run, lines: [1, 2, 3].map((n) => ({ at: now, message: `line ${n}` })) })),
  )
  await store.close()
}

async function allJobs(store: Store): Promise<JobWithPayload[]> {
  const all: JobWithPayload[] = []
  for (let after: string | null = ''; after !== null; ) {
    const { jobs, next } = await store.scan({}, after)
    all.push(...jobs)
    after = next
  }
  return all
}

describe.skipIf(postgresMissing !== null)(`a transfer that is killed (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.url() })
    await client.connect()
    onTestFinished(() => client.end())
    return client
  }

  test('goes on until all has come, each row once', { timeout: 120_000 }, async () => {
    const database = { driver: 'postgres', source: server.url(), schema: 'killed' }
    const folder = freshFolder({ 'config.yaml': { data: { database: { master: database } } } })
    const [file, copy] = [join(folder, 'jobs.db'), join(folder, 'copy.db')]
    await fillLarge(file)
    copyFileSync(file, copy)
    const client = await connect()
    const reached = async () => {
      const answer = await client.query('SELECT reached FROM killed.transfers').catch(() => ({ rows: [] }))
      return (answer.rows[0]?.reached ?? null) as string | null
    }

    /** Killed at a piece of such a table that was not there before, or while rows are compared. */
    async function killedAt(tables: RegExp): Promise<void> {
      const before = await reached()
      const { child, exit, output } = launch(folder, ['migrate', '--from', 'file:jobs.db'])
      await until(`it is at ${tables}`, async () => {
        const now = (await reached()) ?? ''
        return output().includes('comparing') || (now !== before && tables.test(now))
      })
      child.kill('SIGKILL')
      expect(await exit).toMatchObject({ signal: 'SIGKILL' })
    }
    for (const tables of [/jobs/, /jobs/, /logs|tags|counts/, /tags|counts/, /none/]) await killedAt(tables)

    const last = launch(folder, ['migrate', '--from', 'file:jobs.db'])
    expect(await last.exit, last.errors()).toMatchObject({ code: 0 })
    expect(last.output()).toMatch(/^going on with counts$/m)
    expect(last.output()).toMatch(/^jobs +12000 +12000$/m)
    expect(last.output()).toMatch(/^logs +6000 +6000$/m)
    expect(last.output()).toMatch(/^jobs processing +2000 +2000$/m)
    const store = await openPostgresStore({ source: server.url(), schema: 'killed', node: 'n', lease: 60_000 }, RULES)
    onTestFinished(store.close)
    const source = openSqliteStore(copy, RULES)
    onTestFinished(source.close)
    expect(await allJobs(store)).toEqual(await allJobs(source))
  })

  test('a service that was killed goes on there', { timeout: 120_000 }, async () => {
    const on = (master: object) => ({
      ...{ data: { database: { master } }, jobs: { email: { enabled: false } } },
      worker: { types: ['types'], max_workers: 2, lease: '1s' },
    })
    const folder = freshFolder({
      'config.yaml': on({ source: 'jobs.db' }),
      'postgres.yaml': on({ driver: 'postgres', source: server.url(), schema: 'service' }),
      // All but the first ones wait.
      'types/slow.mjs': `import { existsSync } from 'node:fs'
        import { setTimeout } from 'node:timers/promises'
        export default { async run({ n }) { while (n > 1 && !existsSync('go')) await setTimeout(20); return { n } } }`,
    })
    const before = await startProcess(folder)
    const jobs: JobBody[] = []
    for (let n = 0; n < 12; n += 1) jobs.push(await before.submit({ type: 'slow', payload: { n } }))
    await before.reaches(jobs[2]?.id ?? '', 'processing')
    await before.reaches(jobs[3]?.id ?? '', 'processing')
    await before.kill('SIGKILL')
    const moving = launch(folder, ['migrate', '--from', 'jobs.db', '--config', 'postgres.yaml'])
    expect(await moving.exit, moving.errors()).toMatchObject({ code: 0 })
    expect(moving.output()).toMatch(/^jobs processing +2 +2$/m)

    writeFileSync(join(folder, 'go'), '')
    const after = await startProcess(folder, { JOBMILL_CONFIG: 'postgres.yaml' })
    for (const [n, { id }] of jobs.entries()) {
      const { result, interruptions } = await after.reaches(id, 'completed', 'failed')
      expect([result, interruptions], `job ${n}`).toEqual([{ n }, n === 2 || n === 3 ? 1 : 0])
    }
    const again = launch(folder, ['--port', '0'])
    expect(await again.exit).toMatchObject({ code: 1 })
    expect(again.errors()).toMatch(/^the jobs of .*jobs\.db were, or are being, transferred/)
  })

  test.each([
    [['migrate'], /migrate needs --from, the SQLite file/],
    [['migrate', '--from', 'none.db'], /there is no file .*none\.db/],
    [['migrate', '--from', 'postgres://here/x'], /--from must be a path or a "file:" URI/],
    [
      ['migrate', '--from', 'jobs.db', '--config', 'sqlite.yaml'],
      /migrate needs the PostgreSQL database .* driver: postgres/,
    ],
  ])('%j says what it needs', async (args, words) => {
    const master = { driver: 'postgres', source: server.url() }
    const folder = freshFolder({ 'config.yaml': { data: { database: { master } } }, 'sqlite.yaml': {} })
    const { exit, errors } = launch(folder, args)
    expect(await exit).toMatchObject({ code: 1 })
    expect(errors()).toMatch(words)
    expect(errors()).not.toContain('    at ')
  })
})
