// One request as it is on the wire, and its answer: what fetch would not send.
import { connect } from 'node:net'
import type { Received } from './contract.js'

/** `lines` are the request line and headers; the connection ends with the answer. */
export async function receiveRaw(url: string, ...lines: string[]): Promise<Received> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => void chunks.push(chunk))
  socket.write([...lines, 'Connection: close', '', ''].join('\r\n'))
  // A reset may follow the answer where the server did not read all.
  socket.on('error', () => {})
  await new Promise((resolve) => socket.on('close', resolve))
  const [head = '', ...body] = Buffer.concat(chunks).toString().split('\r\n\r\n')
  const [first = '', ...fields] = head.split('\r\n')
  const headers = new Headers(
    fields.map((field): [string, string] => [field.split(':', 1)[0] ?? '', field.replace(/^[^:]*:\s*/, '')]),
  )
  return { status: Number(first.split(' ')[1]), headers, text: body.join('\r\n\r\n') }
}
