// Server-sent events (HTML standard §9.2): streams that are bounded in number, and in what a slow client may leave unread.
import type { Response } from 'express'
import { ServiceError } from '../errors.js'

interface Message {
  /** What a client that comes back names as `Last-Event-ID`; "": nothing. */
  id: string
  /** Left out: an unnamed message. */
  event?: string
  data: string
}

export interface Stream {
  /** Nothing once it has ended. */
  send(message: Message): void
  /** After what was sent. */
  end(): void
}

export interface Streams {
  /** Answers 200 and streams from then on; `gone` is called once, when the client has gone or was dropped. */
  open(res: Response, gone: () => void): Stream
  /** Takes leave of all clients: the service stops. */
  end(): void
}

/** A proxy ends what is silent for a minute. */
const COMMENT_MS = 15_000
/** What a client may leave unread. */
const MOST_UNREAD = 1_048_576
/** When a client is to come back that was cut off: milliseconds, as all times of the standard. */
const RETRY = 'retry: 2000\n\n'
const RETRY_AFTER_S = 5

/** `most`: so many at once; beyond them one is refused with `too_many_streams`. */
export function createStreams(most: number, comment_ms = COMMENT_MS): Streams {
  const open = new Set<Stream>()
  let ended = false

  return {
    open(res, gone) {
      if (ended) throw new ServiceError('draining', 'no new streams are opened', { retry_after: RETRY_AFTER_S })
      if (open.size >= most) {
        const detail = `${most} streams are open, as many as there may be`
        throw new ServiceError('too_many_streams', detail, { retry_after: RETRY_AFTER_S })
      }
      const stream = createStream(res, comment_ms)
      open.add(stream)
      res.once('close', () => {
        open.delete(stream)
        gone()
      })
      return stream
    },
    end() {
      ended = true
      for (const stream of open) {
        stream.send({ id: '', event: 'goodbye', data: '{}' })
        stream.end()
      }
    },
  }
}

function createStream(res: Response, comment_ms: number): Stream {
  let unsent = ''
  let flushing: NodeJS.Immediate | null = null
  let ended = false
  const comments = setInterval(() => write(':\n\n'), comment_ms)
  res.once('close', () => clearInterval(comments))
  res.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store',
    // nginx would hold it back.
    'X-Accel-Buffering': 'no',
  })
  // Without a body: Node would leave the connection open all the same.
  if (res.req.method === 'HEAD') res.end()
  write(RETRY)

  /** What comes in one turn of the event loop is one write. */
  function write(text: string): void {
    unsent += text
    flushing ??= setImmediate(flush)
  }

  function flush(): void {
    flushing = null
    if (res.destroyed || res.writableEnded) return
    if (res.writableLength > MOST_UNREAD) res.destroy()
    else res.write(unsent)
    unsent = ''
  }

  return {
    send({ id, event, data }) {
      if (ended) return
      const head = `${id === '' ? '' : `id: ${id}\n`}${event === undefined ? '' : `event: ${event}\n`}`
      write(`${head}data: ${data.replaceAll(/\r\n|[\r\n]/g, '\ndata: ')}\n\n`)
    },
    end() {
      ended = true
      clearInterval(comments)
      if (flushing !== null) clearImmediate(flushing)
      flush()
      res.end()
    },
  }
}
