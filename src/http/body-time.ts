// How long the body of a request may take to come in. Node's own limit has no exception for streams of jobs.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'

const lifted = new WeakSet<IncomingMessage>()

/** The reader of this body watches over it by itself. */
export function liftBodyTime(req: IncomingMessage): void {
  lifted.add(req)
}

/** A body that has not come within `ms` ends its connection, with a 408 where nothing was answered yet. */
export function limitBodyTime(server: Server, ms: number): void {
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    if (hasNoBody(req)) return
    const timer = setTimeout(() => {
      if (lifted.has(req)) return
      if (!res.headersSent) req.socket.write('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n')
      req.socket.destroySoon()
    }, ms)
    const done = () => clearTimeout(timer)
    req.once('end', done)
    req.once('close', done)
  })
}

function hasNoBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0'
}
