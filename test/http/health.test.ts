// The liveness probe: every loop of a whole service, and what a loop that hangs does to it.
import { createServer } from 'node:http'
import express from 'express'
import supertest from 'supertest'
import { expect, onTestFinished, test } from 'vitest'
import { createEventBus } from '../../src/events.js'
import { healthRoutes } from '../../src/http/health.js'
import { problemWriter } from '../../src/http/problem.js'
import { every } from '../../src/upkeep/every.js'
import { createHeartbeats } from '../../src/upkeep/heartbeats.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const HOUR = 3_600_000

/** One real loop and the probe that watches it, by a clock that can be made to jump. */
function watched(pass: () => Promise<number>, retry_ms?: number) {
  let jumped = 0
  const bus = createEventBus()
  const clock = () => performance.now() + jumped
  const heartbeats = createHeartbeats({ bus, now: Date.now, clock })
  const loop = every('dispatcher', bus, pass, retry_ms)
  const app = express()
  healthRoutes(app, { heartbeats, unready: () => null })
  app.use(problemWriter(bus, () => 5))
  const server = createServer(app)
  onTestFinished(() => void server.close())
  return {
    loop,
    http: supertest(server),
    jump(ms: number) {
      jumped += ms
    },
  }
}

test('every loop of a service that runs has turned, and after its stop none is left', async () => {
  const { http, service } = await startService()
  const { body } = await http.get('/livez').expect(200)
  expect(body).toEqual({
    status: 'alive',
    loops: Object.fromEntries(
      ['disk-space', 'dispatcher', 'pruner', 'scheduler', 'ticker'].map((name) => [
        name,
        { turned_at: expect.any(String) },
      ]),
    ),
  })
  await service.stop()
  expect((await supertest(service.app).get('/livez').expect(200)).body.loops).toEqual({})
})

test('a service one loop of which does not turn any more is not alive, and the loop is named', async () => {
  let jumped = 0
  const { http } = await startService({
    config: { worker: { poll: '100ms' } },
    clock: () => performance.now() + jumped,
  })
  await http.get('/livez').expect(200)
  // The dispatcher polls on; the ticker has nothing to do and waits its minute.
  jumped = HOUR
  const { body } = await http.get('/livez').expect(503)
  expect(body).toMatchObject({
    code: 'not_alive',
    detail: expect.stringMatching(/^the loop ticker has not turned since/),
  })
  expect(body.detail).not.toContain('dispatcher')
})

test('a pass that hangs makes the service not alive, by name and time, until it ends', async () => {
  let finish = (_wait: number) => {}
  const { loop, http, jump } = watched(() => new Promise<number>((resolve) => (finish = resolve)))
  loop.start()
  await until('the pass runs', async () => (await http.get('/livez')).status === 200)
  jump(89_000)
  await http.get('/livez').expect(200)
  jump(1_000)
  const { body, headers } = await http.get('/livez').expect(503)
  expect(headers['content-type']).toBe('application/problem+json')
  expect(body).toMatchObject({
    code: 'not_alive',
    detail: expect.stringMatching(/^the loop dispatcher is in a pass that began at 20\S+Z and does not end$/),
  })
  finish(0)
  await http.get('/livez').expect(200)
  const stopping = loop.stop()
  finish(0)
  await stopping
})

test('a loop whose passes all fail is alive', async () => {
  const { loop, http, jump } = watched(() => Promise.reject(new Error('no luck')), 20)
  loop.start()
  jump(HOUR)
  await http.get('/livez').expect(200)
  await loop.stop()
})

test('a loop that was stopped is not missed', async () => {
  const { loop, http, jump } = watched(async () => 1_000)
  loop.start()
  await loop.stop()
  jump(HOUR)
  await http.get('/livez').expect(200)
})

test('after a jump of the clock, as by a laptop that slept, a loop has a moment to turn', async () => {
  const { loop, http, jump } = watched(async () => 50)
  loop.start()
  await until('it has turned', async () => 'dispatcher' in (await http.get('/livez')).body.loops)
  for (let i = 0; i < 3; i += 1) {
    jump(HOUR)
    await http.get('/livez').expect(200)
  }
  await loop.stop()
})
