// Clients that are slow, silent, many or odd, on raw sockets: each is ended in its time, and harms nobody else.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Client, chunk, GET, open, post, stream } from '../support/raw.js'
import { shareService, startService } from '../support/service.js'
import { until } from '../support/until.js'

const QUICK = { header_timeout: '400ms', body_timeout: '800ms', idle_timeout: '1s' }

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
    expect(client.received()).toMatch(/^HTTP\/1\.1 408 /)
  })

  test.each([
    ['half a header', 'GET /livez HTTP/1.1\r\nHost: loc'],
    ['half a body', post('Content-Length: 100', '{')],
  ])('that sends %s has no longer than server.body_timeout, also where it is the shorter', async (_, text) => {
    const { url } = await startService({ config: { server: { header_timeout: '1h', body_timeout: '400ms' } } })
    const client = await open(url, text)
    await until('it is ended', client.closed)
    expect(client.received()).toMatch(/^HTTP\/1\.1 408 /)
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
    expect(client.received()).toMatch(/^HTTP\/1\.1 408 /)
    expect((await http.get('/jobs')).body.jobs).toEqual([])
  })

  test('that asks nothing more is ended after server.idle_timeout', async () => {
    const { url } = await startService({ config: { server: { ...QUICK, idle_timeout: '2s' } } })
    const client = await open(url, GET)
    await until('it has its answer', () => client.received().includes('alive'))
    const begun = performance.now()
    await until('it is ended', client.closed)
    const lasted = performance.now() - begun
    expect(lasted).toBeGreaterThan(1_800)
    // Not a second later, as Node has it.
    expect(lasted).toBeLessThan(2_800)
  })

  test('that streams jobs line by line may take longer than server.body_timeout, and is ended when it is silent', async () => {
    const { url, http } = await startService({ config: { server: QUICK } })
    const client = await open(url, stream('/jobs/batch'))
    const begun = performance.now()
    for (let sent = 1; performance.now() - begun < 1_600; sent += 1) {
      client.socket.write(chunk('{"type":"greet"}\n'))
      await until('the line is answered', () => client.received().split('"status":').length > sent)
      await sleep(200)
    }
    expect(client.closed()).toBe(false)
    await until('it is ended', client.closed)
    expect((await http.get('/jobs?limit=500')).body.jobs).toHaveLength(client.received().split('"status":').length - 1)
  })

  test('that streams jobs and reads no answers is ended after server.body_timeout', async () => {
    const { url } = await startService({ config: { server: QUICK } })
    const { socket } = await open(url, stream('/jobs/batch'))
    socket.pause()
    const wrong = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${'x'.repeat(500)}${i}`, 1]))
    const broken = chunk(`${JSON.stringify(wrong)}\n`.repeat(50))
    // Each is answered with more bytes than it has: what both sides keep for the client, some 35 MB, is soon full.
    // A paused socket does not see its end; what is written then does.
    await until('it is ended', () => {
      if (socket.writableLength === 0) socket.write(broken)
      return socket.destroyed
    })
  })

  test('that sends lines where none are taken has no longer than for any body', async () => {
    const { url } = await startService({ config: { server: QUICK } })
    const client = await open(url, stream('/jobs'))
    const drip = setInterval(() => client.socket.write(chunk('{"type":"greet"}\n')), 100)
    onTestFinished(() => clearInterval(drip))
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

  test('kept alive between two requests make room, the one that has been idle longest first', async () => {
    const { url, http } = await startService({ config: { server: { max_connections: 3 } } })
    const clients: Client[] = []
    for (let i = 0; i < 3; i += 1) {
      const client = await open(url, GET)
      await until('it has its answer', () => client.received().includes('alive'))
      clients.push(client)
    }
    const [first, second, third] = clients
    // Now the second has been idle longest.
    first?.socket.write(GET)
    await until('it has its next answer', () => first?.received().split('alive').length === 3)
    await http.get('/livez').expect(200)
    await until('the second made room', () => second?.closed())
    expect([first?.closed(), third?.closed()]).toEqual([false, false])
  })

  test('one whose second request is under way when the first is answered is not idle', async () => {
    const { url, http, submit } = await startService({ config: { server: { max_connections: 1 } } })
    const { id } = await submit({ type: 'greet', delay: '1h' })
    const waits = `GET /jobs/${id}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n`
    const client = await open(url, GET + waits)
    await until('the first is answered', () => client.received().includes('alive'))
    const late = await open(url, GET)
    await until('one is ended', () => late.closed() || client.closed())
    expect(client.closed()).toBe(false)
    expect(late.received()).toBe('')
    client.socket.destroy()
    await until('there is room', () => http.get('/livez').then(Boolean, () => false))
  })

  test('with a request under way each are left alone, and one more is refused until one ends', async () => {
    const { url } = await startService({ config: { server: { max_connections: 50 } } })
    const busy: Client[] = []
    for (let i = 0; i < 50; i += 1) busy.push(await open(url, post('Expect: 100-continue\r\nContent-Length: 16')))
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
    expect(busy.slice(1).map(({ closed }) => closed())).toEqual(Array(49).fill(false))
  })
})

describe('odd framing', () => {
  const BODY = '{"type":"greet"}'
  const chunked = `10\r\n${BODY}\r\n0\r\n\r\n`
  const NEXT = post('Content-Length: 16', BODY)
  const get = (headers: string, version = '1.1') => `GET /livez HTTP/${version}\r\n${headers}\r\n`

  // None of what is refused may leave a job there.
  const theService = shareService()

  async function refused(text: string): Promise<string> {
    const { url, http } = await theService()
    // What follows must not be taken for a request of its own: its answer would not be seen, its job would be.
    const client = await open(url, text + NEXT)
    await until('it is ended', client.closed)
    expect(client.received()).toMatch(/^HTTP\/1\.1 400 /)
    expect(client.received().match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(client.received()).toMatch(/^Connection: close\r$/m)
    expect((await http.get('/jobs')).body.jobs).toEqual([])
    return client.received()
  }

  test.each([
    ['two Host headers', get('Host: localhost\r\nHost: localhost\r\n'), 'there are two Host headers'],
    ['two of a submission', post('Host: a.example\r\nContent-Length: 16', BODY), 'there are two Host headers'],
    ['no Host header', get(''), 'there is no Host header'],
    ['an unknown Transfer-Encoding', post('Transfer-Encoding: xchunked', chunked), 'Transfer-Encoding must be chunked'],
    ['two codings', post('Transfer-Encoding: gzip, chunked', chunked), 'Transfer-Encoding must be chunked'],
    ['identity', post('Transfer-Encoding: identity', chunked), 'Transfer-Encoding must be chunked'],
    [
      'a Transfer-Encoding in HTTP/1.0',
      `${get('Host: localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n', '1.0')}${chunked}`,
      'HTTP/1.0 has no Transfer-Encoding',
    ],
  ])('%s is a malformed_request, and the connection ends', async (_, text, detail) => {
    const answer = await refused(text)
    expect(answer).toContain('Content-Type: application/problem+json')
    expect(JSON.parse(answer.slice(answer.indexOf('{')))).toMatchObject({ code: 'malformed_request', detail })
  })

  test.each([
    ['chunked not last', post('Transfer-Encoding: chunked, identity', chunked)],
    ['chunked twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', chunked)],
    ['both ways to tell the length', post('Content-Length: 16\r\nTransfer-Encoding: chunked', chunked)],
    ['both, the other way round', post('Transfer-Encoding: chunked\r\nContent-Length: 16', chunked)],
    ['a length and an unknown coding', post('Content-Length: 16\r\nTransfer-Encoding: xchunked', BODY)],
    ['two lengths', post('Content-Length: 16\r\nContent-Length: 5', BODY)],
  ])("%s is Node's own 400, and the connection ends", async (_, text) => {
    expect(await refused(text)).toMatch(/\r\n\r\n$/)
  })

  test('an empty Transfer-Encoding is a 400 too: Node 24 says so itself, Node 20 leaves it to the guard', async () => {
    await refused(post('Transfer-Encoding: \r\nContent-Length: 16', BODY))
  })

  test.each(['chunked', 'Chunked'])('Transfer-Encoding: %s is as it should be: the control', async (coding) => {
    const { url, http } = await startService()
    const client = await open(url, post(`Transfer-Encoding: ${coding}`, chunked) + NEXT)
    await until('both have their answers', () => client.received().match(/HTTP\/1\.1 202/g)?.length === 2)
    expect((await http.get('/jobs')).body.jobs).toHaveLength(2)
  })

  test('HTTP/1.0 needs no Host header, and is told which it may name', async () => {
    const { url } = await theService()
    const client = await open(url, get('', '1.0'))
    await until('it is ended', client.closed)
    expect(client.received()).toMatch(/^HTTP\/1\.1 403 /)
    expect(client.received()).toContain('forbidden_host')
  })
})
