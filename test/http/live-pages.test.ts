// Pages that keep themselves up to date: what makes them render, and that nothing does once nobody looks.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Response } from 'express'
import { html } from 'hono/html'
import { expect, onTestFinished, test } from 'vitest'
import { createEventBus } from '../../src/events.js'
import { createLivePages } from '../../src/http/live-pages.js'
import { createStreams } from '../../src/http/streams.js'
import { until } from '../support/until.js'

/** One page that would be rendered again after an hour only, and how often it was. */
async function onePage() {
  const streams = createStreams(10)
  const live = createLivePages(streams, createEventBus(), 3_600_000)
  let rendered = 0
  let changed = () => {}
  let watched = 0
  const server = createServer((_req, res) => {
    const render = async () => {
      rendered += 1
      return { body: html`<p>${rendered}</p>`, over: false }
    }
    live(res as Response, '/page', render, (told) => {
      changed = told
      watched += 1
      return () => {
        watched -= 1
      }
    })
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  async function look() {
    const gone = new AbortController()
    const { body } = await fetch(`http://127.0.0.1:${port}/`, { signal: gone.signal })
    let text = ''
    const read = (async () => {
      for await (const chunk of body ?? []) text += Buffer.from(chunk).toString()
    })().catch(() => {})
    return { text: () => text, leave: () => gone.abort(), read }
  }
  return { look, change: () => changed(), rendered: () => rendered, watched: () => watched }
}

test('what a page shows has changed: it is rendered at once, for all who look', async () => {
  const { look, change, rendered } = await onePage()
  const [one, other] = [await look(), await look()]
  await until('both see the first', () => one.text().includes('<p>1</p>') && other.text().includes('<p>1</p>'))
  expect(rendered()).toBe(1)
  change()
  await until('both see the second', () => one.text().includes('<p>2</p>') && other.text().includes('<p>2</p>'))
  expect(rendered()).toBe(2)
})

test('nobody looks any more: the page is not watched, nor rendered', async () => {
  const { look, change, rendered, watched } = await onePage()
  const one = await look()
  await until('it is seen', () => one.text().includes('<p>1</p>'))
  expect(watched()).toBe(1)
  one.leave()
  await one.read
  await until('it is not watched', () => {
    change()
    return watched() === 0
  })
  const before = rendered()
  change()
  const next = await look()
  await until('it is rendered anew for the next', () => next.text().includes(`<p>${before + 1}</p>`))
})
