// Several nodes on one database, asked over HTTP: what is done on one is seen, waited for and obeyed on the others.
import { describe, expect, test } from 'vitest'
import { watch } from '../support/event-stream.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { type ServiceOptions, startService } from '../support/service.js'
import { until } from '../support/until.js'

const HOUR_MS = 3_600_000

interface NodeBody {
  id: string
  state: string
  max_workers: number
  active_workers: number
  types: string[]
}

describe.skipIf(postgresMissing !== null)(`nodes on PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let schemas = 0

  /** Nodes of one service; each has the settings of `each` and its own. */
  async function startNodes(own: ServiceOptions['config'][], each: ServiceOptions = {}) {
    schemas += 1
    const master = { driver: 'postgres', source: server.url(), schema: `nodes_${process.pid}_${schemas}` }
    const nodes = []
    for (const { worker, ...config } of own.map((config) => config ?? {})) {
      const settings = { data: { database: { master } }, ...each.config, ...config }
      // Polls come late: what is seen at once was told.
      const service = await startService({
        ...each,
        config: { ...settings, worker: { poll: '60s', ...each.config?.worker, ...worker } },
      })
      const { body } = await service.http.get('/nodes')
      nodes.push({ ...service, id: String(body.nodes[0].id) })
    }
    type Started = (typeof nodes)[number]
    const all = nodes as [Started, Started, ...Started[]]
    const list = async ({ http }: Started): Promise<NodeBody[]> => (await http.get('/nodes').expect(200)).body.nodes
    await until(
      'all know of each other',
      async () => (await list(all[0])).filter(({ state }) => state === 'alive').length === all.length,
    )
    return { all, list }
  }

  test('a job that one takes is run by the other, at once, and both tell of it', async () => {
    const { all } = await startNodes([{ worker: { only: ['email'] } }, {}])
    const [web, worker] = all
    const { id } = await web.submit({ type: 'greet', payload: { name: 'Ada' } })
    const job = await web.ends(id)
    expect(job).toMatchObject({ status: 'completed', result: { greeting: 'Hello, Ada' }, worker: { node: worker.id } })
    expect(await worker.get(id)).toEqual(job)
    for (const { http } of all)
      expect((await http.get('/workers/stats')).body).toMatchObject({
        completed_jobs: 1,
        queued_jobs: 0,
        active_workers: 0,
      })
  })

  test('a long poll on one node ends when the job ends on another', async () => {
    const { all } = await startNodes([{ worker: { only: ['email'] } }, {}])
    const [web, worker] = all
    const { id } = await web.submit({ type: 'polite', payload: { at_end: 'return' } })
    await web.reaches(id, 'processing')
    const waiting = web.http.get(`/jobs/${id}?wait=50`).then(({ body }) => body)
    await until('it waits', async () => (await worker.http.post(`/jobs/${id}/cancel`)).status === 202)
    expect(await waiting).toMatchObject({ status: 'cancelled' })
  })

  test('a cancel on one node stops a job that runs on another', async () => {
    const { all } = await startNodes([{ worker: { only: ['email'] } }, {}])
    const [web] = all
    const { id } = await web.submit({ type: 'endless' })
    await web.reaches(id, 'processing')
    await web.http.post(`/jobs/${id}/cancel`).expect(202)
    expect(await web.ends(id)).toMatchObject({ status: 'cancelled' })
  })

  test('handlers that spin on the CPU of every slot keep the leases of their nodes', async () => {
    const worker = { lease: '1s', poll: '100ms', max_workers: 3 }
    const [first] = (await startNodes([{ worker }, { worker }])).all
    const ids: string[] = []
    for (let n = 0; n < 6; n += 1) ids.push((await first.submit({ type: 'endless' })).id)
    const nodes: unknown[] = []
    for (const id of ids) nodes.push((await first.reaches(id, 'processing')).worker?.node)
    expect(new Set(nodes).size).toBe(2)
    const begun = performance.now()
    await until('leases have gone by', () => performance.now() - begun > 4_000)
    for (const [n, id] of ids.entries()) {
      expect(await first.get(id)).toMatchObject({ status: 'processing', interruptions: 0, worker: { node: nodes[n] } })
      await first.http.post(`/jobs/${id}/cancel`).expect(202)
      expect(await first.ends(id)).toMatchObject({ status: 'cancelled', attempt: 1, interruptions: 0 })
    }
  })

  test('events of jobs on one node are streamed by another, with their progress and their end', async () => {
    const { all } = await startNodes([{ worker: { only: ['email'] } }, {}], { types: ['hash'] })
    const [web] = all
    const every = watch(`${web.url}/events?type=hash`)
    await every.opened()
    const { id } = await web.submit({ type: 'hash', payload: { rounds: 1_000 } })
    const one = watch(`${web.url}/jobs/${id}/events`)
    await one.comes('done')
    expect(one.seen.at(-2)).toMatchObject({ event: 'message', data: { id, status: 'completed', progress: 100 } })
    const progress = one.seen.flatMap(({ data }) => (typeof data.progress === 'number' ? [data.progress] : []))
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    expect(new Set(progress).size).toBeGreaterThan(2)
    await until('all events show its end, too', () =>
      every.seen.some(({ data }) => data.id === id && data.status === 'completed'),
    )
  })

  test('where more jobs move than a hint holds, who waits or watches on another node is told all the same', async () => {
    const { all } = await startNodes([{ worker: { queue_size: 1_000 } }, {}], {
      config: { worker: { only: ['email'] } },
    })
    const [here, there] = all
    const watcher = watch(`${there.url}/events?type=greet`)
    await watcher.opened()
    const jobs = Array.from({ length: 1_000 }, () => ({ type: 'greet', payload: {} }))
    const { body } = await here.http.post('/jobs/batch').send({ jobs }).expect(202)
    const ids: string[] = body.jobs.map(({ id }: { id: string }) => id)
    const waits = Promise.all(
      ids
        .filter((_, i) => i % 10 === 9)
        .map(async (id) => (await there.http.get(`/jobs/${id}?wait=30`).expect(200)).body),
    )
    // Asked and read after them.
    await there.get(String(ids[0]))
    await here.http.post(`/batches/${body.batch_id}/cancel`).expect(200)
    for (const job of await waits) expect(job).toMatchObject({ status: 'cancelled' })
    await until('who watches was told to begin anew', () => watcher.seen.some(({ event }) => event === 'reset'))
  })

  test('who comes back to a node for events that it did not keep is told to begin anew', async () => {
    const { all } = await startNodes([{}, {}])
    const [here, there] = all
    const before = watch(`${here.url}/events`)
    await before.opened()
    await here.ends((await here.submit({ type: 'greet', payload: {} })).id)
    await until('it was told', () => before.seen.some(({ data }) => data.status === 'completed'))
    const last = String(before.seen.at(-1)?.id)
    before.source.close()
    await here.http.put(`/workers?node=all`).send({ max_workers: 1 }).expect(200)
    await until('it is told so', async () => {
      const { id } = await there.submit({ type: 'greet', payload: {} })
      await there.ends(id)
      const after = watch(`${here.url}/events`, last)
      await until('the end of that job comes', () => after.seen.some(({ data }) => data.status === 'completed'))
      after.source.close()
      // Where the hint came only now, it has missed nothing.
      return after.seen[0]?.event === 'reset'
    })
  })

  test('all nodes are listed by each, and resized, drained and resumed through any', async () => {
    const { all, list } = await startNodes([{}, { worker: { max_workers: 4, only: ['greet'] } }])
    const [here, there] = all
    expect(await list(here)).toMatchObject([
      { id: here.id, state: 'alive', max_workers: 10 },
      { id: there.id, state: 'alive', max_workers: 4, types: ['greet'] },
    ])
    expect((await list(there)).map(({ id }) => id)).toEqual([there.id, here.id])
    expect((await here.http.get('/workers/stats')).body).toMatchObject({ max_workers: 14, node: here.id })
    expect((await here.http.get(`/workers/stats?node=${there.id}`)).body).toMatchObject({
      max_workers: 4,
      node: there.id,
    })

    await here.http.put(`/workers?node=${there.id}`).send({ max_workers: 2 }).expect(200)
    const seen = async (of: object) =>
      until(`all show ${JSON.stringify(of)}`, async () => {
        const nodes = await Promise.all(all.map(list))
        return nodes
          .flat()
          .every(
            (node) =>
              node.id !== there.id || Object.entries(of).every(([key, value]) => node[key as keyof NodeBody] === value),
          )
      })
    await seen({ max_workers: 2 })
    await here.http.put('/workers?node=all').send({ max_workers: 3 }).expect(200)
    await seen({ max_workers: 3 })
    expect((await here.http.get('/workers/stats')).body.max_workers).toBe(6)

    await here.http.post(`/nodes/${there.id}/drain`).expect(200)
    await seen({ state: 'draining' })
    const job = await there.submit({ type: 'greet', payload: {} })
    expect((await here.ends(job.id)).worker?.node).toBe(here.id)
    await here.http.post(`/nodes/${here.id}/drain`).expect(200)
    const waits = await there.submit({ type: 'greet', payload: {} })
    expect((await there.http.get(`/jobs/${waits.id}/why`)).body.waits_for[0]).toMatchObject({ kind: 'draining' })
    await here.http.post(`/nodes/${there.id}/resume`).expect(200)
    expect((await here.ends(waits.id)).worker?.node).toBe(there.id)
    await here.http.post('/nodes/nobody/drain').expect(404)
  })

  test('a pause on one node is obeyed by the other, and lifted through a third', async () => {
    const { all } = await startNodes([{ worker: { only: ['email'] } }, {}, {}])
    const [web, worker] = all
    await web.http.post('/workers/pause').send({ type: 'greet' }).expect(200)
    const { id } = await web.submit({ type: 'greet', payload: {} })
    expect((await worker.http.get(`/jobs/${id}/why`)).body.waits_for).toMatchObject([{ kind: 'paused', type: 'greet' }])
    await (all[2] as typeof web).http.post('/workers/resume').send({ type: 'greet' }).expect(200)
    expect(await web.ends(id)).toMatchObject({ status: 'completed' })
  })

  test('a job waits for a node that runs its type, and /why says so', async () => {
    const { all } = await startNodes([{ worker: { only: ['email'] } }, { worker: { only: ['email'] } }])
    const { id } = await all[0].submit({ type: 'greet', payload: {} })
    for (const { http } of all)
      expect((await http.get(`/jobs/${id}/why`)).body.waits_for).toMatchObject([{ kind: 'no_node', type: 'greet' }])
  })

  test('a tick is left to a node that has its type', async () => {
    const { all } = await startNodes([{ jobs: { greet: { enabled: false } } }, {}])
    const [here, there] = all
    const job = { type: 'greet', payload: { name: 'Ada' } }
    await there.http.put('/schedules/often').send({ every: '1s', overlap: 'queue', job }).expect(201)
    const ticks = await until('it has ticked', async () => {
      const { history } = (await here.http.get('/schedules/often/history')).body
      return history.length >= 5 && history
    })
    expect(ticks.map(({ outcome }: { outcome: string }) => outcome)).toEqual(ticks.map(() => 'ran'))
  })

  test('nodes that come back at the same moment catch up with each missed tick once', async () => {
    const master = { driver: 'postgres', source: server.url(), schema: `back_${process.pid}` }
    const config = { data: { database: { master } }, worker: { poll: '60s' } }
    const before = await startService({ config, now: () => Date.now() - 10 * HOUR_MS })
    const job = { type: 'greet', payload: { name: 'Ada' } }
    await before.http.put('/schedules/hourly').send({ every: '1h', catch_up: 'all', job }).expect(201)
    await before.service.stop()
    const nodes = await Promise.all([1, 2, 3].map(() => startService({ config })))
    const [node] = nodes as [(typeof nodes)[0]]
    const ticks = await until('all were caught up with', async () => {
      const { history } = (await node.http.get('/schedules/hourly/history')).body
      return history.length >= 10 && history
    })
    const of = (name: string) => new Set(ticks.map((tick: Record<string, string>) => tick[name]))
    expect(ticks).toHaveLength(10)
    expect([of('tick_at').size, of('job_id').size]).toEqual([10, 10])
    for (const id of of('job_id') as Set<string>) expect(await node.ends(id)).toMatchObject({ status: 'completed' })
    expect((await node.http.get('/workers/stats')).body).toMatchObject({ completed_jobs: 10, queued_jobs: 0 })
  })

  test('statistics add up what nodes measured, and pages show the slots of all', async () => {
    const { all } = await startNodes(
      [{ worker: { only: ['greet'] } }, { worker: { only: ['polite', 'throws'], max_workers: 2 } }],
      { types: ['throws'] },
    )
    const [here, there] = all
    for (let i = 0; i < 3; i += 1) await here.ends((await there.submit({ type: 'greet', payload: {} })).id)
    await here.ends((await here.submit({ type: 'throws' })).id)
    const { id } = await here.submit({ type: 'polite', payload: {} })
    await here.reaches(id, 'processing')
    for (const { http } of all) {
      const stats = await until('both have told', async () => {
        const { body } = await http.get('/workers/stats')
        return body.run_ms.count === 4 && body.slots.some(({ job }: { job: object | null }) => job !== null) && body
      })
      expect(stats).toMatchObject({
        max_workers: 12,
        wait_ms: { count: 5 },
        types: { greet: { run_ms: { count: 3 } }, throws: { run_ms: { count: 1 } } },
      })
      expect(stats.slots.filter(({ node }: { node: string }) => node === there.id)).toHaveLength(2)
      expect(stats.slots.find(({ job }: { job: object | null }) => job !== null)).toMatchObject({
        node: there.id,
        job: { id },
      })
      expect(stats.last_hour.completed.reduce((sum: number, n: number) => sum + n, 0)).toBe(3)
      const page = (await http.get('/ui/')).text
      expect(page).toContain(id)
      expect((await http.get('/ui/nodes')).text).toContain(there.id)
    }
    await here.http.post(`/jobs/${id}/cancel`).expect(202)
    await here.ends(id)
  })

  test('a node that stops takes leave: its job goes on elsewhere at once', async () => {
    const { all, list } = await startNodes([
      { worker: { shutdown_grace: 0, only: ['polite'] } },
      { worker: { only: ['email'] } },
      {},
    ])
    const [leaving, , other] = all as unknown as [(typeof all)[0], (typeof all)[0], (typeof all)[0]]
    await other.http.post(`/nodes/${other.id}/drain`)
    const { id } = await other.submit({ type: 'polite', payload: { at_end: 'throw' } })
    expect((await other.reaches(id, 'processing')).worker?.node).toBe(leaving.id)
    await other.http.post(`/nodes/${other.id}/resume`)
    await leaving.service.stop()
    await until('it runs on the other', async () => (await other.get(id)).worker?.node === other.id)
    expect((await list(other)).map(({ id }) => id)).not.toContain(leaving.id)
    await other.http.post(`/jobs/${id}/cancel`).expect(202)
    await other.ends(id)
  })
})
