// The HTTP server's limits, and how it opens and closes.
import { once } from 'node:events'
import type { Server } from 'node:http'

/** Node's own limits would let a slow client hold a connection for five minutes. */
export const SERVER_LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
}
const MAX_CONNECTIONS = 1_000
/** Answers under way at a stop get this long to be taken. */
const CLOSE_GRACE_MS = 1_000

/** Rejects where the address cannot be listened on. */
export async function listen(server: Server, port: number, host: string): Promise<void> {
  server.maxConnections = MAX_CONNECTIONS
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
