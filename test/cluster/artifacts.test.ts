// Artifacts of jobs on several nodes: made on one, read on all, and gone everywhere when they count no more.
import { createHash } from 'node:crypto'
import { cpSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runFolders } from '../support/artifact-places.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { residentBytes, startProcess } from '../support/process.js'
import { type ServiceOptions, startService } from '../support/service.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

const CHUNK = 262_144
const MIB = 1_048_576
/** No piece of a file that repeats it is like another. */
const LINES = Array.from({ length: 9_973 }, (_, i) => `${i}\n`).join('')

describe.skipIf(postgresMissing !== null)(`artifacts on PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let schemas = 0

  function newSchema() {
    schemas += 1
    const schema = `artifacts_${process.pid}_${schemas}`
    return { schema, database: { master: { driver: 'postgres', source: server.url(), schema } } }
  }
  const chunks = async (schema: string) =>
    (await server.ask<{ run: string }>(`SELECT id || '.' || run AS run FROM ${schema}.artifact_chunks`)).map(
      ({ run }) => run,
    )

  /** A node that makes artifacts, and one that does not; `data` and `more` are settings of both. */
  async function startNodes(data: object = {}, more: ServiceOptions['config'] = {}) {
    const { schema, database } = newSchema()
    const start = (only: string[]) =>
      startService({
        types: ['makes', 'calls'],
        config: { ...more, data: { database, ...data }, worker: { only, ...more.worker } },
      })
    const [maker, other] = [await start(['makes']), await start(['calls'])]
    const make = async (files: object, more: object = {}) => {
      const { id } = await maker.submit({ type: 'makes', payload: { files, ...more } })
      return maker.ends(id)
    }
    return { maker, other, make, kept: async () => [...new Set(await chunks(schema))], schema }
  }

  /** A file of about so many bytes. */
  const large = (bytes: number) => ({ payload: { files: { a: LINES }, repeat: Math.ceil(bytes / LINES.length) } })
  const digest = (repeat: number) => {
    const hash = createHash('sha256')
    for (let i = 0; i < repeat; i += 1) hash.update(LINES)
    return hash.digest('hex')
  }

  async function digestOf(url: string): Promise<string> {
    const hash = createHash('sha256')
    const { status, body } = await fetch(url)
    expect(status).toBe(200)
    for await (const piece of body as ReadableStream<Uint8Array>) hash.update(piece)
    return hash.digest('hex')
  }

  test('one that a node made is downloaded from another, whole and in part, as one and the same version', async () => {
    const { maker, other, make } = await startNodes()
    const { id, artifacts } = await make({ 'a.txt': LINES }, { repeat: 10 })
    const whole = LINES.repeat(10)
    const url = `/jobs/${id}/artifacts/a.txt`
    expect(artifacts).toMatchObject([{ name: 'a.txt', bytes: whole.length, url }])
    const [here, there] = [await maker.http.get(url), await other.http.get(url)]
    expect(there.text === whole).toBe(true)
    expect(there.headers.etag).toBe(here.headers.etag)
    const etag = String(here.headers.etag)
    for (const [start, end] of [
      [0, 0],
      [CHUNK - 2, CHUNK + 1],
      [CHUNK, whole.length - 1],
    ] as const) {
      const part = await other.http.get(url).set('Range', `bytes=${start}-${end}`).set('If-Range', etag).expect(206)
      expect(part.headers['content-range']).toBe(`bytes ${start}-${end}/${whole.length}`)
      expect(part.text === whole.slice(start, end + 1)).toBe(true)
    }
    await other.http.get(url).set('If-None-Match', etag).expect(304)
    await other.http.get(url).set('Range', 'bytes=0-9').set('If-Range', '"another"').expect(200)
    await until('nothing waits in the folder', () => runFolders(maker.folder).length === 0)
  })

  test('one that a node made is read by a handler on another', async () => {
    const { other, make } = await startNodes()
    const made = await make({ 'a.txt': LINES }, { repeat: 10 })
    const payload = { method: 'read_artifact', args: [made.id, 'a.txt'] }
    const read = await other.ends((await other.submit({ type: 'calls', payload })).id)
    const { text, ...rest } = read.result as { text: string }
    expect(rest).toEqual({ name: 'a.txt', content_type: 'text/plain; charset=utf-8', bytes: LINES.length * 10 })
    expect(text === LINES.repeat(10)).toBe(true)
  })

  test('they are removed when their job is deleted, run again, or too old, on whichever node', async () => {
    const { maker, other, make, kept } = await startNodes({}, { retention: { completed: { max_count: 1 } } })
    const [deleted, again] = [await make({ a: LINES }), await make({ a: LINES })]
    expect(await kept()).toHaveLength(2)
    await other.http.delete(`/jobs/${deleted.id}`).expect(204)
    await maker.http.get(`/jobs/${deleted.id}/artifacts/a`).expect(404)
    await until('those of the deleted job are gone', async () => (await kept()).join() === `${again.id}.1`)
    await other.http.post(`/jobs/${again.id}/rerun`).expect(202)
    await maker.ends(again.id)
    await until('those of the first run are gone', async () => (await kept()).join() === `${again.id}.2`)
    const last = await make({ a: LINES })
    await other.http.post('/schedules/system.retention/run')
    await until('those of the older job are gone', async () => (await kept()).join() === `${last.id}.1`)
  })

  test('the quota counts what all nodes keep', async () => {
    const { schema, database } = newSchema()
    const config = { data: { database, max_bytes: 250_000 } }
    const nodes = [await startService({ types: ['makes'], config }), await startService({ types: ['makes'], config })]
    const statuses = []
    for (let i = 0; i < 3; i += 1) {
      const node = nodes[i % 2] as (typeof nodes)[number]
      const { id } = await node.submit({ type: 'makes', payload: { files: { a: 'x'.repeat(1_000) }, repeat: 100 } })
      const { status, error } = await node.ends(id)
      statuses.push(error?.code ?? status)
    }
    expect(statuses).toEqual(['completed', 'completed', 'artifact_too_large'])
    expect(new Set(await chunks(schema)).size).toBe(2)
  })

  /** Answers once the first bytes are there, and reads no further by itself. */
  async function open(url: string): Promise<IncomingMessage> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get(url, { agent: false }, resolve).on('error', reject)
    })
    onTestFinished(() => void response.destroy())
    return response
  }

  test('a download whose job is deleted in the middle fails, and is not taken for whole', async () => {
    const { other, maker, kept, make } = await startNodes()
    const { id } = await make({ a: LINES }, { repeat: (40 * MIB) / LINES.length })
    const response = await open(`${other.url}/jobs/${id}/artifacts/a`)
    expect(response.statusCode).toBe(200)
    await maker.http.delete(`/jobs/${id}`).expect(204)
    await until('it is swept', async () => (await kept()).length === 0)
    let bytes = 0
    const reading = (async () => {
      for await (const piece of response) bytes += piece.length
    })()
    await expect(reading).rejects.toThrow(/aborted/)
    expect(bytes).toBeLessThan(Number(response.headers['content-length']))
  })

  test.each(['leaves', 'reads nothing'])('a client that %s makes a node read no more than it takes', async (how) => {
    const { schema, database } = newSchema()
    const maker = await startService({ types: ['makes'], config: { data: { database } } })
    const { payload } = large(64 * MIB)
    const { id } = await maker.submit({ type: 'makes', payload })
    await maker.ends(id)
    const { source, received } = await countingProxy(server.url())
    const master = { driver: 'postgres', source, schema }
    const other = await startService({ config: { data: { database: { master } } } })
    const response = await open(`${other.url}/jobs/${id}/artifacts/a`)
    expect(response.statusCode).toBe(200)
    if (how === 'leaves') response.destroy()
    let before = -1
    await until('it has read what it reads', async () => {
      const still = received() - before < CHUNK
      before = received()
      // Longer than a chunk takes.
      await sleep(500)
      return still
    })
    // Bytes come from the server as two hexadecimal digits each; of those read, a connection buffers some megabytes.
    expect(received()).toBeLessThan((2 * 64 * MIB) / 4)
  })

  test('a process that is killed between upload and outcome leaves nothing; the next run is whole', async () => {
    const { schema, database } = newSchema()
    const settings = { data: { database }, worker: { types: ['types'], lease: '1s', max_workers: 1 } }
    const files = { ...typeFiles(['makes']), 'config.yaml': settings }
    const folder = freshFolder(files)
    const first = await startProcess(folder)
    const { payload } = large(3 * MIB)
    const { id } = await first.submit({ type: 'makes', payload })
    // Whoever stores the outcome writes the job, and waits for this; pieces of its artifacts are stored under a share of it.
    const holder = new pg.Client({ connectionString: server.url() })
    await holder.connect()
    onTestFinished(() => holder.end())
    await until('it runs', async () => (await first.get(id)).status === 'processing')
    await holder.query('BEGIN')
    await holder.query(`SELECT 1 FROM ${schema}.jobs WHERE id = $1 FOR SHARE`, [id])
    const [{ pid }] = (await holder.query('SELECT pg_backend_pid() AS pid')).rows
    const held = 'SELECT 1 FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))'
    await until('it stores the outcome', async () => (await server.ask(held, [pid])).length === 1)
    expect(new Set(await chunks(schema))).toEqual(new Set([`${id}.1`]))
    await first.kill('SIGKILL')
    await holder.query('COMMIT')
    expect(runFolders(folder)).toEqual([])
    const second = await startProcess(folder)
    const job = await second.reaches(id, 'completed')
    expect(job).toMatchObject({ attempt: 1, interruptions: 1 })
    expect(await digestOf(`${second.url}/jobs/${id}/artifacts/a`)).toBe(digest(payload.repeat))
    await until('the first run left nothing', async () => new Set(await chunks(schema)).size === 1)
    expect(new Set(await chunks(schema))).toEqual(new Set([`${id}.2`]))
    await until('nothing waits in the folder', () => runFolders(folder).length === 0)
    await fetch(`${second.url}/jobs/${id}`, { method: 'DELETE' })
    await until('all is gone', async () => (await chunks(schema)).length === 0)
    const notes = `SELECT 1 FROM ${schema}.artifact_leftovers`
    await until('nothing is noted any more', async () => (await server.ask(notes)).length === 0)
  }, 60_000)

  test('100 MB are sent and read in the memory of a few chunks', async () => {
    const { schema, database } = newSchema()
    const node = (only: string) => {
      const settings = { data: { database }, worker: { types: ['types'], max_workers: 1, only: [only] } }
      return startProcess(freshFolder({ ...typeFiles(['makes', 'greet']), 'config.yaml': settings }))
    }
    const [maker, other] = [await node('makes'), await node('greet')]
    /** The most that the process takes while `work` goes on. */
    async function peakOf<T>({ child }: typeof maker, work: Promise<T>): Promise<[number, T]> {
      let [peak, over] = [0, false]
      const end = () => {
        over = true
      }
      work.then(end, end)
      while (!over) {
        peak = Math.max(peak, await residentBytes(Number(child.pid)))
        await sleep(50)
      }
      return [peak / MIB, await work]
    }
    async function peaks(bytes: number) {
      const { payload } = large(bytes)
      const { id } = await maker.submit({ type: 'makes', payload })
      const ended = until('it is completed', async () => (await maker.get(id)).status === 'completed', 100_000)
      const [up] = await peakOf(maker, ended)
      const [down, hash] = await peakOf(other, digestOf(`${other.url}/jobs/${id}/artifacts/a`))
      expect(hash).toBe(digest(payload.repeat))
      return { up, down }
    }
    const small = await peaks(10e6)
    const big = await peaks(100e6)
    expect((await chunks(schema)).length * CHUNK).toBeGreaterThan(100e6)
    expect(big.up - small.up).toBeLessThan(45)
    expect(big.down - small.down).toBeLessThan(45)
  }, 240_000)

  test.each(['folder', 'database'] as const)(
    'a node that starts removes what crashes left in a folder that it shares (store: %s), and no run of others',
    async (store) => {
      const { database } = newSchema()
      const shared = freshFolder()
      const dir = join(shared, 'data/artifacts')
      const config = { data: { database, artifacts: { dir, store } } }
      const first = await startService({ types: ['makes'], config })
      const { id } = await first.submit({ type: 'makes', payload: { files: { a: 'text' }, at_end: 'wait' } })
      await until('its file is there', () => runFolders(shared).includes(`${id}.1`))
      const strange = '019a2b3c-0000-7000-8000-0000000000ff.1'
      cpSync(join(dir, id.slice(-2), `${id}.1`), join(dir, 'ff', strange), { recursive: true })
      await startService({ types: ['makes'], config })
      await until('it has looked through the folder', () => !runFolders(shared).includes(strange))
      expect(runFolders(shared)).toEqual([`${id}.1`])
    },
  )

  test('a shared folder serves all nodes', async () => {
    const shared = freshFolder()
    const { other, make, kept } = await startNodes({
      artifacts: { store: 'folder', dir: join(shared, 'data/artifacts') },
    })
    const { id } = await make({ a: LINES })
    expect((await other.http.get(`/jobs/${id}/artifacts/a`).expect(200)).body.toString()).toBe(LINES)
    await other.http.delete(`/jobs/${id}`).expect(204)
    await until('its files are gone', () => runFolders(shared).length === 0)
    expect(await kept()).toEqual([])
  })

  test.skipIf(!server.ours)(
    'a database that goes away in the middle of an upload gets the rest when it is back',
    async () => {
      const { maker, schema } = await startNodes()
      const { payload } = large(32 * MIB)
      const { id } = await maker.submit({ type: 'makes', payload })
      await until('some of it is there', async () => (await chunks(schema)).length > 20)
      await server.stop()
      const refused = () => maker.lines.filter(({ doing }) => doing === `keeping the artifacts of ${id}`)
      await until('the rest is refused', () => refused().length > 2).finally(server.start)
      const completed = () =>
        maker.get(id).then(
          ({ status }) => status === 'completed',
          () => false,
        )
      await until('it is completed', completed, 60_000)
      expect(await maker.get(id)).toMatchObject({ attempt: 1, interruptions: 0 })
      expect(await digestOf(`${maker.url}/jobs/${id}/artifacts/a`)).toBe(digest(payload.repeat))
    },
    120_000,
  )
})

/** Tells how many bytes the server has sent through it. */
async function countingProxy(target: string) {
  const { hostname, port, pathname, username } = new URL(target)
  let bytes = 0
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    upstream.on('data', (data) => {
      bytes += data.length
    })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.pipe(to)
      from.on('error', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void proxy.close())
  const { port: own } = proxy.address() as AddressInfo
  return { source: `postgres://${username}@127.0.0.1:${own}${pathname}`, received: () => bytes }
}
