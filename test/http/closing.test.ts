// What a stop does with the connections: idle ones end at once, requests under way have a second, nobody holds it up.
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { closeServer, createLimitedServer, listen } from '../../src/http/server.js'
import { GET, open, post } from '../support/raw.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

/** A close that waits for the grace takes 1,000 ms. */
const AT_ONCE_MS = 700
const PATIENT = { header_timeout: 3_600_000, body_timeout: 3_600_000, idle_timeout: 3_600_000, max_connections: 2_000 }

async function serve(app: RequestListener) {
  const server = createLimitedServer(PATIENT, app)
  onTestFinished(() => server.closeAllConnections())
  await listen(server, 0, '127.0.0.1')
  const { port } = server.address() as AddressInfo
  return { server, url: `http://127.0.0.1:${port}` }
}

async function connected(server: { getConnections(tell: (error: unknown, n: number) => void): unknown }, n: number) {
  const count = () => new Promise<number>((resolve) => void server.getConnections((_, open) => resolve(open)))
  await until(`there are ${n} connections`, async () => (await count()) === n)
}

async function took(work: Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work
  return performance.now() - begun
}

describe('a close', () => {
  test.each([
    ['that sent nothing', '', ''],
    ['that sent half a header', 'GET /livez HTTP/1.1\r\nHost: loc', ''],
    ['kept alive after an answer', GET, 'alive'],
  ])('ends 1,000 connections %s at once', async (_, text, answer) => {
    const { server, url } = await serve((_req, res) => void res.end('alive'))
    const clients = await Promise.all(Array.from({ length: 1_000 }, () => open(url, text)))
    await connected(server, 1_000)
    for (const { received } of clients) await until('it has its answer', () => received().includes(answer))
    expect(await took(closeServer(server))).toBeLessThan(AT_ONCE_MS)
    for (const { closed } of clients) await until('it is ended', closed)
  })

  test('lets a request under way have its answer, and is done then', async () => {
    const { server, url } = await serve((req, res) => {
      req.resume().on('end', () => res.end('thanks'))
      res.writeContinue()
    })
    const client = await open(url, post('Content-Length: 4', 'ab'))
    await until('its headers were read', () => client.received().includes('100 Continue'))
    const closing = took(closeServer(server))
    client.socket.write('cd')
    await until('it has its answer', () => client.received().includes('thanks'))
    expect(await closing).toBeLessThan(AT_ONCE_MS)
    await until('it is ended', client.closed)
  })

  test('ends a request that never arrives as a whole', async () => {
    const { server, url } = await serve((req, res) => {
      req.resume().on('end', () => res.end('thanks'))
      res.writeContinue()
    })
    const client = await open(url, post('Content-Length: 4', 'ab'))
    await until('its headers were read', () => client.received().includes('100 Continue'))
    const lasted = await took(closeServer(server))
    expect(lasted).toBeGreaterThan(900)
    await until('it is ended', client.closed)
    expect(client.received()).not.toContain('thanks')
  })

  test('is not held up by a client that never reads its answer', async () => {
    // More than the kernel takes on both sides.
    const answer = Buffer.alloc(64 * 1_048_576)
    let answering = false
    const { server, url } = await serve((_req, res) => {
      res.end(answer)
      answering = true
    })
    const client = await open(url)
    client.socket.pause()
    client.socket.write(GET)
    await until('it is being answered', () => answering)
    await closeServer(server)
    await connected(server, 0)
  })
})

test('a service with silent, slow and kept connections stops without waiting for them', async () => {
  const { url, service } = await startService()
  const kept = await open(url, GET)
  await until('it has its answer', () => kept.received().includes('alive'))
  const slow = await open(url, post('Expect: 100-continue\r\nContent-Length: 16'))
  await until('its headers were read', () => slow.received().includes('100 Continue'))
  slow.socket.write('{"type":')
  const clients = [kept, slow, await open(url), await open(url, 'POST /jobs HTT')]
  await service.stop()
  for (const { closed } of clients) await until('it is ended', closed)
})
