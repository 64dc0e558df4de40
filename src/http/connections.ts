// How many connections there may be: where there are too many, the one that has been idle longest goes first.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * A client that only holds connections open must not lock others out, so a new one takes the place of an idle one: a
 * silent one, or one kept alive between two requests. Only where each has a request under way is the new one refused.
 */
export function limitConnections(server: Server, most: number): void {
  /** Those without a request under way; the one that has been so longest comes first. */
  const idle = new Set<Socket>()
  let open = 0

  server.on('connection', (socket: Socket) => {
    open += 1
    socket.once('close', () => {
      open -= 1
      idle.delete(socket)
    })
    if (open > most) makeRoom(socket)
    if (!socket.destroyed) idle.add(socket)
  })

  server.on('request', ({ socket }: IncomingMessage, res: ServerResponse) => {
    idle.delete(socket)
    res.once('close', () => {
      if (!socket.destroyed) idle.add(socket)
    })
  })

  function makeRoom(newcomer: Socket): void {
    const [longest = newcomer] = idle
    idle.delete(longest)
    longest.destroy()
  }
}
