// A client on a raw socket, that may be slow, silent or odd, with what came over it.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export async function open(url: string, text = '') {
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

export type Client = Awaited<ReturnType<typeof open>>

export const GET = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'

export const post = (headers: string, body = '') =>
  `POST /jobs HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n${body}`

/** A request whose lines come as chunks. */
export const stream = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n`

export const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
