// A service whose database goes away: what it refuses meanwhile, what goes on, and that nothing is lost or done twice.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

/** Ends when a file is there, and keeps a list of what it did. */
const FILES = {
  'types/until_file.mjs': `import { appendFileSync, existsSync } from 'node:fs'
  import { setTimeout as sleep } from 'node:timers/promises'
  export default { timeout: '120s', retry_count: 0, async run({ file, list, keep }, ctx) {
    appendFileSync(list, ctx.run + '\\n')
    while (!existsSync(file)) { ctx.signal.throwIfAborted(); await sleep(20) }
    if (keep !== undefined) { appendFileSync(list, 'keeping\\n'); await ctx.checkpoint(keep) }
    await ctx.progress(90)
    ctx.log('the file is there')
    return { done: true }
  } }`,
}

const missing = postgresMissing ?? (process.env.JOBMILL_TEST_POSTGRES === undefined ? null : 'not ours to stop')

describe.skipIf(missing !== null)(`without its database (${missing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let schemas = 0

  function start() {
    schemas += 1
    const master = { driver: 'postgres', source: server.url(), schema: `away_${schemas}` }
    return startService({ config: { data: { database: { master } }, worker: { lease: '2s' } }, files: FILES })
  }

  test('submissions are refused at once, readiness is red, and a job that runs goes on to an end that is kept', async () => {
    const { http, submit, reaches, path, lines } = await start()
    const waiting = { file: path('go'), list: path('list') }
    const { id } = await submit({ type: 'until_file', payload: waiting })
    await reaches(id, 'processing')
    await server.stop()
    await until('readiness is red', async () => (await http.get('/readyz')).status === 503)
    for (let n = 0; n < 3; n += 1) {
      const begun = performance.now()
      const { status, body, headers } = await http.post('/jobs').send({ type: 'greet', payload: {} })
      expect(status).toBe(503)
      expect(body).toMatchObject({ code: 'store_busy', detail: expect.stringContaining('the database is away') })
      expect(Number(headers['retry-after'])).toBeGreaterThan(0)
      expect(performance.now() - begun).toBeLessThan(3_000)
    }
    expect((await http.get(`/jobs/${id}`)).status).toBe(503)
    expect((await http.get('/livez')).status).toBe(200)
    // Its work ends while its outcome cannot be stored.
    writeFileSync(waiting.file, '')
    await until('it is tried', () => lines.some(({ doing }) => String(doing).includes(`storing the outcome of ${id}`)))
    await server.start()
    await until('jobs are read again', async () => (await http.get(`/jobs/${id}`)).status === 200)
    const job = await reaches(id, 'completed')
    expect(job).toMatchObject({ attempt: 1, interruptions: 0, result: { done: true } })
    expect((await http.get(`/jobs/${id}/attempts`)).body.attempts).toHaveLength(1)
    await until('readiness is green', async () => (await http.get('/readyz')).status === 200)
    const { id: next } = await submit({ type: 'greet', payload: { name: 'Ada' } })
    await reaches(next, 'completed')
  })

  test('a checkpoint waits for it, and costs no attempt', async () => {
    const { http, submit, reaches, path } = await start()
    const waiting = { file: path('go'), list: path('list'), keep: { page: 7 } }
    const { id } = await submit({ type: 'until_file', payload: waiting })
    await reaches(id, 'processing')
    await server.stop()
    await until('readiness is red', async () => (await http.get('/readyz')).status === 503)
    writeFileSync(waiting.file, '')
    const list = () => (existsSync(waiting.list) ? readFileSync(waiting.list, 'utf8') : '')
    await until('it is asked for', () => list() === '1\nkeeping\n')
    await server.start()
    await until('jobs are read again', async () => (await http.get(`/jobs/${id}`)).status === 200)
    expect(await reaches(id, 'completed')).toMatchObject({ attempt: 1, interruptions: 0 })
    expect(list()).toBe('1\nkeeping\n')
  })

  test('a job that runs longer than the database is away, and than the lease, is not run by the node that comes back first', async () => {
    schemas += 1
    const master = { driver: 'postgres', source: server.url(), schema: `away_${schemas}` }
    const config = { data: { database: { master } }, worker: { lease: '2s' } }
    const nodes = [await startService({ config, files: FILES }), await startService({ config, files: FILES })] as const
    const [here, there] = nodes
    const waiting = { file: here.path('go'), list: here.path('list') }
    await there.http.post(`/nodes/${(await there.http.get('/nodes')).body.nodes[0].id}/drain`).expect(200)
    const { id } = await here.submit({ type: 'until_file', payload: waiting })
    await here.reaches(id, 'processing')
    await there.http.post(`/nodes/${(await there.http.get('/nodes')).body.nodes[0].id}/resume`).expect(200)
    await server.stop()
    // Longer than any lease, by the clock of the server that is away.
    const away = performance.now()
    await until('the leases are over', () => performance.now() - away > 3_000)
    await server.start()
    for (const { http } of nodes) {
      await until('it is back', async () => (await http.get('/readyz')).status === 200)
      await until('jobs are read again', async () => (await http.get(`/jobs/${id}`)).status === 200)
    }
    // Upkeep of both has looked for dead nodes more than once by then.
    const back = performance.now()
    await until('a lease has gone by', () => performance.now() - back > 3_000)
    expect(await there.get(id)).toMatchObject({ status: 'processing', interruptions: 0 })
    writeFileSync(waiting.file, '')
    expect(await there.reaches(id, 'completed')).toMatchObject({ interruptions: 0, attempt: 1 })
  })
})
