// A line between a node and PostgreSQL that can be made slow, cut, or swallow all that is sent.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Line {
  /** Of the database, by this line. */
  url: string
  /** What is sent from now on takes so many milliseconds each way. */
  delay(ms: number): void
  /** Ends all connections. New ones are taken. */
  cut(): void
  /**
   * Connections, also new ones, stay open, and nothing comes through. What was open then stays dead when the line is
   * mended: neither side is told.
   */
  swallow(): void
  /** The server gets what is sent; a connection that has sent a COMMIT is cut when it answers. */
  loseAnswers(): void
  /** Answers to COMMITs that were lost so far. */
  lost(): number
  mend(): void
  close(): Promise<void>
}

interface Pair {
  here: Socket
  there: Socket
  dead: boolean
}

export async function openLine(to: string): Promise<Line> {
  const { hostname, port } = new URL(to)
  const pairs = new Set<Pair>()
  let delay_ms = 0
  let swallowing = false
  let losing = false
  let lost = 0

  const server = createServer((here) => {
    const pair = { here, there: connect(Number(port), hostname), dead: swallowing }
    pairs.add(pair)
    pass(pair, 'here', 'there')
    pass(pair, 'there', 'here')
    // The server says so when it has committed.
    pair.there.prependListener('data', (bytes) => {
      if (!losing || !bytes.includes('COMMIT')) return
      lost += 1
      end(pair)
    })
  })

  /** In order, each piece after its delay; the end as well, but not while nothing comes through. */
  function pass(pair: Pair, from: 'here' | 'there', to: 'here' | 'there'): void {
    let sent: Promise<unknown> = Promise.resolve()
    const after = (ms: number, act: () => void) => {
      const due = sleep(ms)
      sent = sent.then(() => due).then(act)
    }
    pair[from].on('data', (bytes) => after(delay_ms, () => !pair.dead && !pair[to].destroyed && pair[to].write(bytes)))
    pair[from].on('error', () => {})
    pair[from].on('close', () => after(delay_ms, () => swallowing || end(pair)))
  }

  function end(pair: Pair): void {
    pair.here.destroy()
    pair.there.destroy()
    pairs.delete(pair)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(to)
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    delay(ms) {
      delay_ms = ms
    },
    cut() {
      for (const pair of pairs) end(pair)
    },
    swallow() {
      swallowing = true
      for (const pair of pairs) pair.dead = true
    },
    loseAnswers() {
      losing = true
    },
    lost: () => lost,
    mend() {
      losing = false
      swallowing = false
      delay_ms = 0
      for (const pair of pairs) if (pair.dead && pair.here.closed) end(pair)
    },
    async close() {
      for (const pair of pairs) end(pair)
      server.close()
      await once(server, 'close')
    },
  }
}
