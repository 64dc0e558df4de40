// Clients that are slow, silent, many or odd, on raw sockets: each is ended in its time, and harms nobody else.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const QUICK = { header_timeout: '400ms', body_timeout: '800ms', idle_timeout: '500ms' }

/** A connection with what came over it. */
async function open(url: string, text = '') {
  const socket: Socket = connect(Number(new URL(url).port), '127.0.0.1')
  let received = ''
  let closed = false
  socket.on('data', (chunk) => {
    received += chunk
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  if (text !== '') socket.write(text)
  return { socket, received: () => received, closed: () => closed }
}

type Client = Awaited<ReturnType<typeof open>>

const GET = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'
const post = (headers: string, body = '') => `POST /jobs HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n${body}`

describe('a slow client', () => {
  test.each([
    ['that sends nothing', ''],
    ['that sends half a header', 'GET /livez HTTP/1.1\r\nHost: loc'],
  ])('%s is ended after server.header_timeout', async (_, text) => {
    const { url } = await startService({ config: { server: QUICK } })
    const begun = performance.now()
    const client = await open(url, text)
    await until('it is ended', client.closed)
    expect(performance.now() - begun).toBeGreaterThan(300)
  })

  test('that sends its headers byte by byte is ended too', async () => {
    const { url } = await startService({ config: { server: QUICK } })
    const client = await open(url)
    const drip = setInterval(() => client.socket.write('G'), 50)
    await until('it is ended', client.closed)
    clearInterval(drip)
  })

  test('that stops in the middle of its body is ended after server.body_timeout, and no job is stored', async () => {
    const { url, http } = await startService({ config: { server: QUICK } })
    const client = await open(url, post('Content-Length: 100', '{"type":"greet"'))
    await until('it is ended', client.closed)
    expect(client.received()).not.toContain('202')
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })

  test('that asks nothing more is ended after server.idle_timeout', async () => {
    const { url } = await startService({ config: { server: QUICK } })
    const client = await open(url, GET)
    await until('it has its answer', () => client.received().includes('alive'))
    expect(client.closed()).toBe(false)
    await until('it is ended', client.closed)
  })

  test('is served within the limits: the control', async () => {
    const { url } = await startService()
    const client = await open(url, post('Content-Length: 16\r\nConnection: close', '{"type":'))
    client.socket.write('"greet"}')
    await until('it is ended', client.closed)
    expect(client.received()).toContain('HTTP/1.1 202')
  })
})

describe('many connections', () => {
  test.each([50, 1_000])('%i silent ones keep nobody out', async (max_connections) => {
    const { url, http } = await startService({ config: { server: { max_connections, header_timeout: '1h' } } })
    const silent: Client[] = []
    for (let i = 0; i < max_connections; i += 1) silent.push(await open(url))
    for (let i = 0; i < 3; i += 1) await http.get('/livez').expect(200)
    await until('the oldest made room', () => silent[0]?.closed())
    expect(silent.at(-1)?.closed()).toBe(false)
  })

  test('with a request under way each are left alone, and one more is refused until one ends', async () => {
    const { url } = await startService({ config: { server: { max_connections: 10 } } })
    const busy: Client[] = []
    for (let i = 0; i < 10; i += 1) busy.push(await open(url, post('Expect: 100-continue\r\nContent-Length: 16')))
    for (const { received, socket } of busy) {
      await until('its headers were read', () => received().includes('100 Continue'))
      socket.write('{"type":')
    }
    const late = await open(url, GET)
    await until('it is refused', late.closed)
    expect(late.received()).toBe('')
    busy[0]?.socket.end('"greet"}')
    await until('the first has its answer', () => busy[0]?.received().includes('HTTP/1.1 202'))
    await until('there is room', async () => {
      const next = await open(url, GET)
      await until('it is answered or refused', () => next.closed() || next.received() !== '')
      return next.received().includes('alive')
    })
    expect(busy.slice(1).map(({ closed }) => closed())).toEqual(Array(9).fill(false))
  })
})

describe('odd framing', () => {
  const BODY = '{"type":"greet"}'
  const chunked = `10\r\n${BODY}\r\n0\r\n\r\n`

  test.each([
    ['two Host headers', `GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n`],
    ['no Host header', 'GET /livez HTTP/1.1\r\n\r\n'],
    ['an unknown Transfer-Encoding', post('Transfer-Encoding: xchunked', chunked)],
    ['two codings', post('Transfer-Encoding: gzip, chunked', chunked)],
    ['chunked not last', post('Transfer-Encoding: chunked, identity', chunked)],
    ['identity', post('Transfer-Encoding: identity', chunked)],
    ['both ways to tell the length', post(`Content-Length: 16\r\nTransfer-Encoding: chunked`, chunked)],
    ['two lengths', post(`Content-Length: 16\r\nContent-Length: 5`, BODY)],
  ])('%s is a 400, and the connection ends', async (_, text) => {
    const { url, http } = await startService()
    // What follows must not be taken for a request of its own.
    const client = await open(url, text + GET)
    await until('it is ended', client.closed)
    expect(client.received()).toMatch(/^HTTP\/1\.1 400 /)
    expect(client.received()).not.toContain('alive')
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })

  test.each(['chunked', 'Chunked'])('Transfer-Encoding: %s is as it should be: the control', async (coding) => {
    const { url } = await startService()
    const client = await open(url, post(`Transfer-Encoding: ${coding}`, chunked))
    await until('it has its answer', () => client.received().includes('HTTP/1.1 202'))
  })
})
