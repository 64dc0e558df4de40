// Which connections are idle: they make room where there are too many, and are the first to go at a stop.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * A client that only holds connections open must not lock others out, so a new one takes the place of an idle one: a
 * silent one, or one kept alive between two requests. Only where each has a request under way is the new one refused.
 */
export function limitConnections(server: Server, most: number): void {
  /** Requests under way on each that is open: several where a client sends the next before it has its answer. */
  const requests = new Map<Socket, number>()
  /** Those without any; the one that has been so longest comes first. */
  const idle = new Set<Socket>()

  server.on('connection', (socket: Socket) => {
    requests.set(socket, 0)
    socket.once('close', () => {
      requests.delete(socket)
      idle.delete(socket)
    })
    if (requests.size > most) makeRoom(socket)
    if (!socket.destroyed) idle.add(socket)
  })

  server.on('request', ({ socket }: IncomingMessage, res: ServerResponse) => {
    if (socket.destroyed) return
    idle.delete(socket)
    requests.set(socket, underWay(socket) + 1)
    res.once('close', () => answered(socket))
  })

  // Node's own passes over those that have sent nothing yet, or half a header.
  server.closeIdleConnections = () => {
    for (const socket of idle) socket.destroy()
  }

  function answered(socket: Socket): void {
    if (socket.destroyed) return
    requests.set(socket, underWay(socket) - 1)
    if (underWay(socket) > 0) return
    if (server.listening) idle.add(socket)
    else socket.destroySoon()
  }

  function underWay(socket: Socket): number {
    return requests.get(socket) ?? 0
  }

  function makeRoom(newcomer: Socket): void {
    const [longest = newcomer] = idle
    idle.delete(longest)
    longest.destroy()
  }
}
