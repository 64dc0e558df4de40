// Live events, read with a client that is not ours: what comes first, resuming, the end, and clients that do not behave.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Response } from 'express'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createStreams } from '../../src/http/streams.js'
import { watch } from '../support/event-stream.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

describe('GET /jobs/:id/events', () => {
  test('shows a job as it is, each change, and the end; who comes back then is told to stop', async () => {
    const { http, url, submit, reaches } = await startService()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' } })
    await reaches(id, 'processing')
    const stream = watch(`${url}/jobs/${id}/events`)
    await stream.comes('message')
    await until('its progress came', () =>
      stream.seen.some(({ data }) => data.progress_note === 'waiting for my signal'),
    )
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await stream.comes('done')
    expect(stream.statuses().filter((status, i, all) => status !== all[i - 1])).toEqual([
      'processing',
      'cancelled',
      'done',
    ])
    expect(stream.seen.at(-1)).toMatchObject({ event: 'done', data: { status: 'cancelled' } })
    const { payload: _, result: __, ...summary } = (await http.get(`/jobs/${id}`)).body
    expect(stream.seen.at(-2)?.data).toEqual(summary)
    // The client comes back by itself, and a 204 ends it.
    await until('the client has given up', () => stream.source.readyState === stream.source.CLOSED)
    expect(stream.failures.at(-1)).toBe(204)
    expect(stream.seen.filter(({ event }) => event === 'done')).toHaveLength(1)
  })

  test('of a job that is final begins with its end', async () => {
    const { url, submit, reaches } = await startService()
    const { id } = await submit({ type: 'greet', payload: { name: 'you' } })
    await reaches(id, 'completed')
    const stream = watch(`${url}/jobs/${id}/events`)
    await stream.comes('done')
    expect(stream.statuses()).toEqual(['completed', 'done'])
  })

  test('goes on where it was cut off, with what it has come to meanwhile', async () => {
    const { url, submit, reaches } = await startService({ config: { worker: { max_workers: 1 } } })
    const blocker = await submit({ type: 'polite', payload: {} })
    const { id } = await submit({ type: 'greet', payload: { name: 'you' } })
    const first = watch(`${url}/jobs/${id}/events`)
    const { id: last } = await first.comes('message')
    first.source.close()
    await fetch(`${url}/jobs/${blocker.id}/cancel`, { method: 'POST' })
    await reaches(id, 'completed')
    const second = watch(`${url}/jobs/${id}/events`, last)
    await second.comes('done')
    expect(second.statuses()).toEqual(['completed', 'done'])
  })

  test.each(['0badcafe.3', 'nonsense', '.', '9.9.9'])(
    'begins anew after a Last-Event-ID that means nothing: %s',
    async (last) => {
      const { url, submit, reaches } = await startService()
      const { id } = await submit({ type: 'greet', payload: { name: 'you' } })
      await reaches(id, 'completed')
      const stream = watch(`${url}/jobs/${id}/events`, last)
      await stream.comes('done')
      expect(stream.statuses()).toEqual(['reset', 'completed', 'done'])
    },
  )

  test('is a 404 for a job that there is not, and takes no parameters', async () => {
    const { http, submit } = await startService()
    const { id } = await submit({ type: 'greet', payload: { name: 'you' } })
    expect((await http.get('/jobs/none/events').expect(404)).body.code).toBe('job_not_found')
    expect((await http.get(`/jobs/${id}/events?x=1`).expect(400)).body.code).toBe('invalid_query')
    await http
      .head(`/jobs/${id}/events`)
      .expect(200)
      .expect('content-type', /text\/event-stream/)
  })
})

describe('GET /events', () => {
  test('shows the jobs that fit, then each change of them', async () => {
    const { http, url, submit, ends } = await startService()
    const before = await submit({ type: 'greet', payload: { name: 'first' } })
    await ends(before.id)
    const all = watch(`${url}/events`)
    const greets = watch(`${url}/events?type=greet&status=completed,failed`)
    await greets.comes('message')
    expect(greets.seen[0]?.data).toMatchObject({ id: before.id, status: 'completed' })
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' } })
    await until('it is told to run', () => all.seen.some(({ data }) => data.id === id && data.status === 'processing'))
    const after = await submit({ type: 'greet', payload: { name: 'second' } })
    await ends(after.id)
    await until('it was told', () => greets.seen.some(({ data }) => data.id === after.id))
    expect(new Set(greets.seen.map(({ data }) => data.type))).toEqual(new Set(['greet']))
    expect(new Set(greets.statuses())).toEqual(new Set(['completed']))
    expect((await http.get('/events?status=done').expect(400)).body.detail).toMatch(/^status: must be of waiting/)
  })

  test('resets a client that was away for too long', async () => {
    const { url, submit, ends, http } = await startService({ config: { worker: { queue_size: 5_000 } } })
    await ends((await submit({ type: 'greet', payload: { name: 'you' } })).id)
    const stream = watch(`${url}/events`)
    const { id: last } = await stream.comes('message')
    stream.source.close()
    for (let i = 0; i < 2; i += 1) {
      const jobs = Array.from({ length: 600 }, () => ({ type: 'greet', delay: '1h', payload: { name: 'x' } }))
      await http.post('/jobs/batch').send({ jobs }).expect(202)
    }
    const again = watch(`${url}/events`, last)
    await again.comes('reset')
    await until('the newest jobs came', () => again.seen.length > 50)
    expect(again.seen[0]?.event).toBe('reset')
  })

  test('says goodbye when the service stops', async () => {
    const { url, service } = await startService()
    const stream = watch(`${url}/events`)
    await stream.opened()
    await service.stop()
    await stream.comes('goodbye')
  })

  test('refuses more clients than there may be, and lets go of those that left', async () => {
    const { url, http } = await startService({ config: { server: { max_connections: 12 } } })
    const streams = [1, 2, 3].map(() => watch(`${url}/events`))
    for (const stream of streams) await stream.opened()
    const refused = await http.get('/events').expect(503)
    expect(refused.body.code).toBe('too_many_streams')
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    streams[0]?.source.close()
    await until('there is room', async () => {
      const stream = watch(`${url}/events`)
      const state = await until(
        'it was answered',
        () => stream.source.readyState !== stream.source.CONNECTING && stream.source,
      )
      return state.readyState === state.OPEN
    })
  })

  test('drops a client that does not read, and not one that does', async () => {
    const { url, http } = await startService({
      config: { server: { max_connections: 8 }, worker: { queue_size: 1_000_000 } },
    })
    const reader = watch(`${url}/events`)
    await reader.opened()
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write(`GET /events HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.pause()
    const isFull = async () => (await fetch(`${url}/events`, { method: 'HEAD' })).status === 503
    expect(await isFull()).toBe(true)
    const tags = Object.fromEntries(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => [name, 'x'.repeat(255)]))
    const jobs = Array.from({ length: 500 }, () => ({ type: 'greet', delay: '1h', payload: { name: 'x' }, tags }))
    // The kernel takes megabytes before anything is left unread in the server.
    for (let batches = 0; (await isFull()) && batches < 200; batches += 1)
      await http.post('/jobs/batch').send({ jobs }).expect(202)
    expect(await isFull()).toBe(false)
    expect([reader.failures, reader.source.readyState]).toEqual([[], reader.source.OPEN])
  }, 60_000)
})

test('a silent stream has comments, so that nothing on its way ends it', async () => {
  const streams = createStreams(1, 10)
  const server = createServer((_, res) => void streams.open(res as Response, () => {}))
  onTestFinished(() => void server.closeAllConnections())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { body } = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  let text = ''
  for await (const chunk of body ?? []) {
    text += Buffer.from(chunk).toString()
    if (text.split(':\n\n').length > 3) break
  }
  expect(text).toMatch(/^retry: \d+\n\n(:\n\n){3}/)
  server.close()
})
