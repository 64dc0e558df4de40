// The slow client of jobmill torture: a server may end it with a FIN or with a reset, and both are an end.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { lifetime } from '../src/torture/faults/clients.js'

test.each([
  ['a FIN', (socket: Socket) => socket.destroy()],
  ['a reset', (socket: Socket) => socket.resetAndDestroy()],
])('a slow client lasts until the server ends it with %s', async (_, end) => {
  const server = createServer((socket) => socket.on('error', () => {}).on('data', () => end(socket)))
  onTestFinished(() => void server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  expect(await lifetime({ url }, '', 'x')).toBeGreaterThan(0)
})
