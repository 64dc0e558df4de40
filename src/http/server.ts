// The HTTP server with its limits, and how it opens and closes.
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { limitBodyTime } from './body-time.js'
import { limitConnections } from './connections.js'

/** Milliseconds. Node's own limits would let a slow client hold a connection for five minutes. */
export interface ServerLimits {
  /** From the connection, or from the request before, until the headers of a request are there. */
  header_timeout: number
  /** From there until the whole request is there; streams of jobs may be silent for so long. */
  body_timeout: number
  /** Between two requests; at least a second. */
  idle_timeout: number
  max_connections: number
}

/** Answers under way at a stop get this long to be taken. */
const CLOSE_GRACE_MS = 1_000
/** Limits hold within a fifth of themselves. */
const CHECKS = 5
const SHORTEST_CHECK_MS = 100
/** Node ends an idle connection so much later than it is told. */
const NODE_ADDS_MS = 1_000
/** A client that takes nothing of its answer for so long is gone. */
const STALLED_MS = 90_000

export function createLimitedServer(limits: ServerLimits, app: RequestListener): Server {
  const { header_timeout, body_timeout, idle_timeout, max_connections } = limits
  const server = createServer(
    {
      // Node refuses one that is longer than the whole request may take.
      headersTimeout: Math.min(header_timeout, body_timeout),
      // Of bodies, see below.
      requestTimeout: 0,
      // 0 would be for ever.
      keepAliveTimeout: Math.max(1, idle_timeout - NODE_ADDS_MS),
      connectionsCheckingInterval: Math.max(SHORTEST_CHECK_MS, Math.min(header_timeout, body_timeout) / CHECKS),
      // The guards say so, as a problem, and end the connection.
      requireHostHeader: false,
    },
    app,
  )
  server.setTimeout(Math.max(STALLED_MS, idle_timeout, body_timeout), (socket: Socket) => socket.destroy())
  limitConnections(server, max_connections)
  limitBodyTime(server, body_timeout)
  return server
}

/** Rejects where the address cannot be listened on. */
export async function listen(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS)
  server.closeIdleConnections()
  await closed
  clearTimeout(timer)
}
