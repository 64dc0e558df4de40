// Artifacts in PostgreSQL, below the service: sent chunk by chunk, read whole and in part on another node, and swept.
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import pg from 'pg'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Job, JobWithPayload } from '../../src/job.js'
import { openPostgresArtifacts, type PostgresArtifacts } from '../../src/store/postgres/artifacts.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { aJob, NO_BOUNDS, T0, wholly } from './suite/stage.js'

const CHUNK = 262_144
let schemas = 0

describe.skipIf(postgresMissing !== null)(`artifacts in PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let schema = ''
  let store: Store
  let here: PostgresArtifacts
  let there: PostgresArtifacts

  beforeEach(async () => {
    schemas += 1
    schema = `artifacts_${schemas}`
    const connection = { source: server.url(), schema, node: 'node-1' }
    store = await openPostgresStore({ ...connection, lease: 3_600_000 }, RULES)
    here = openPostgresArtifacts({ ...connection, dir: freshFolder() })
    there = openPostgresArtifacts({ ...connection, node: 'node-2', dir: freshFolder() })
    onTestFinished(async () => {
      await Promise.all([here.close(), there.close()])
      await store.close()
    })
  })

  async function running(): Promise<JobWithPayload> {
    await store.submit([aJob()], NO_BOUNDS)
    const [job] = (await store.claim({ node: 'node-1', shares: [wholly('a')], slots: [1], now: T0 })).claimed
    return job as JobWithPayload
  }

  /** Writes the files as its thread would. */
  function write(job: Job, ...contents: Buffer[]) {
    return contents.map((content, index) => {
      const path = join(here.folder(job), String(index))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, content)
      return { name: `file ${index}`, bytes: content.length, content_type: 'text/plain' }
    })
  }

  async function completed(...contents: Buffer[]): Promise<Job> {
    const job = await running()
    const artifacts = write(job, ...contents)
    await here.keep(job, artifacts)
    const { ended } = await store.settle([
      { id: job.id, run: job.run, step: { verb: 'complete', result: null, artifacts }, now: T0 + 5 },
    ])
    return ended[0] as Job
  }

  const chunks = () =>
    server.ask<{ id: string; run: number; file: number; n: number }>(
      `SELECT id, run, file, n FROM ${schema}.artifact_chunks ORDER BY id, run, file, n`,
    )
  const notes = () => server.ask(`SELECT * FROM ${schema}.artifact_leftovers`)

  async function sweep(artifacts = there): Promise<number> {
    let pieces = 1
    while (await artifacts.sweep()) pieces += 1
    return pieces
  }

  test.each([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5])(
    'a file of %i bytes is read on another node as it was written',
    async (size) => {
      const content = randomBytes(size)
      const job = await completed(content)
      expect(await chunks()).toHaveLength(Math.ceil(size / CHUNK))
      if (size > 0) expect(content.equals(await buffer(await there.stream(job, 0, 0, size - 1)))).toBe(true)
    },
  )

  test.each([
    [0, 0],
    [CHUNK - 1, CHUNK],
    [CHUNK, CHUNK],
    [1, 2 * CHUNK + 1],
    [2 * CHUNK, 2 * CHUNK + 9],
  ])('the bytes from %i to %i are those, across chunks', async (start, end) => {
    const content = randomBytes(2 * CHUNK + 10)
    const job = await completed(Buffer.from('another file'), content)
    const part = await buffer(await there.stream(job, 1, start, end))
    expect(content.subarray(start, end + 1).equals(part)).toBe(true)
  })

  test('reading in pieces, as handlers do, comes to the whole', async () => {
    const content = randomBytes(2 * CHUNK + 10)
    const job = await completed(content)
    const pieces: Uint8Array[] = []
    for (let start = 0; start < content.length; start += pieces.at(-1)?.length ?? 0)
      pieces.push(await there.read(job, 0, start, 100_000))
    expect(content.equals(Buffer.concat(pieces))).toBe(true)
  })

  test('what is not there is an error, also in the middle of a file', async () => {
    const job = await completed(randomBytes(8 * CHUNK))
    await expect(there.stream({ ...job, run: job.run + 1 }, 0, 0, 9)).rejects.toThrow(/is not there/)
    await expect(there.stream(job, 1, 0, 9)).rejects.toThrow(/is not there/)
    const stream = await there.stream(job, 0, 0, 8 * CHUNK - 1)
    await store.remove(job.id)
    await sweep()
    await expect(buffer(stream)).rejects.toThrow(/chunk \d of artifact 0 .* is not there/)
  })

  test('a run that is over sends nothing more, nor one whose cancel was asked for', async () => {
    const job = await running()
    const artifacts = write(job, randomBytes(2 * CHUNK))
    expect(await here.put({ ...job, run: job.run + 1 }, 0, join(here.folder(job), '0'))).toBe(false)
    await store.cancel(job.id, 'no', T0 + 1)
    await here.keep(job, artifacts)
    expect(await chunks()).toEqual([])
    await store.settle([{ id: job.id, run: job.run, step: { verb: 'cancel' }, now: T0 + 5 }])
    await sweep()
    expect(await notes()).toEqual([])
  })

  test('a run that is being ended elsewhere sends nothing more: a sweep that sees its end sees all its chunks', async () => {
    const job = await running()
    write(job, randomBytes(CHUNK))
    const other = new pg.Client({ connectionString: server.url() })
    await other.connect()
    onTestFinished(() => other.end())
    await other.query('BEGIN')
    await other.query(`UPDATE ${schema}.jobs SET status = 'pending' WHERE id = $1`, [job.id])
    const sending = here.put(job, 0, join(here.folder(job), '0'))
    const waits = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO artifact_chunks%'`
    await until('it waits', async () => (await server.ask(waits)).length === 1)
    await other.query('COMMIT')
    expect([await sending, await chunks()]).toEqual([false, []])
  })

  test('a sweep leaves runs that go on and jobs that have their artifacts, and forgets the latter', async () => {
    const done = await completed(randomBytes(CHUNK + 1))
    const job = await running()
    await here.keep(job, write(job, randomBytes(CHUNK + 1)))
    await sweep()
    expect((await chunks()).map(({ id }) => id)).toEqual([done.id, done.id, job.id, job.id].sort())
    expect(await notes()).toEqual([{ id: job.id, run: job.run }])
  })

  test.each([
    ['released', { verb: 'release', detail: 'shut down' }],
    ['failed', { verb: 'fail', error: { code: 'timeout', message: 'late', attempt: 1 } }],
  ] as const)('a sweep removes what a run sent that was %s', async (_, step) => {
    const job = await running()
    await here.keep(job, write(job, randomBytes(100 * CHUNK)))
    await store.settle([{ id: job.id, run: job.run, step, now: T0 + 5 }])
    expect(await chunks()).toHaveLength(100)
    // 64 chunks a piece.
    expect(await sweep()).toBe(2)
    expect([await chunks(), await notes()]).toEqual([[], []])
  })

  test('chunks go with their job: deleted, pruned or run again', async () => {
    const jobs = [await completed(randomBytes(9)), await completed(randomBytes(9)), await completed(randomBytes(9))]
    const kept = await completed(randomBytes(9))
    await sweep()
    const [deleted, again, pruned] = jobs as [Job, Job, Job]
    await store.remove(deleted.id)
    await store.rerun(again.id, T0 + 6)
    const oldest = { status: ['completed'], types: { except: [] }, finished_before: null } as const
    const { artifacts } = await store.prune({ ...oldest, max_count: 1, max_bytes: null, limit: 10 })
    expect(artifacts).toEqual([{ id: pruned.id, run: pruned.run }])
    expect(await notes()).toHaveLength(3)
    await sweep()
    expect((await chunks()).map(({ id }) => id)).toEqual([kept.id])
    expect(await notes()).toEqual([])
  })

  test('a job that is made to run again while a sweep looks at it is not forgotten', async () => {
    for (let round = 0; round < 20; round += 1) {
      const job = await completed(randomBytes(9))
      await Promise.all([there.sweep(), store.rerun(job.id, T0 + 6), here.sweep()])
      await sweep()
      expect((await chunks()).filter(({ id }) => id === job.id)).toEqual([])
      await store.cancel(job.id, 'done', T0 + 7)
    }
  })

  test('a file is sent on from where it was cut off', async () => {
    const content = randomBytes(5 * CHUNK)
    const job = await running()
    const artifacts = write(job, content)
    const path = join(here.folder(job), '0')
    await here.put(job, 0, path)
    await server.ask(`DELETE FROM ${schema}.artifact_chunks WHERE n > 2`)
    await there.put(job, 0, path)
    // Those that were there are as they were: each was written by a transaction of its own.
    const written = await server.ask(`SELECT n FROM ${schema}.artifact_chunks ORDER BY xmin::text::bigint`)
    expect(written).toEqual([0, 1, 2, 3, 4].map((n) => ({ n })))
    await store.settle([{ id: job.id, run: job.run, step: { verb: 'complete', result: null, artifacts }, now: T0 + 5 }])
    expect(content.equals(await buffer(await there.stream(job, 0, 0, content.length - 1)))).toBe(true)
  })

  test('a file that is not what was written is no artifact, and no trouble of the database', async () => {
    const job = await running()
    await expect(here.keep(job, [{ name: 'a', bytes: 5, content_type: 'text/plain' }])).rejects.toThrow(/ENOENT/)
  })
})
