// A handler's calls of the main thread: each goes out over the port of its run, and is answered there.
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Answer, Call } from './protocol.js'

export interface Calls {
  /** What the main thread answers to `method`; rejects with its error, or when the job is asked to stop. */
  call<T>(method: string, args: unknown): Promise<T>
  /** The run is over: nothing is answered any more. */
  end(): void
}

/** Calls of one run that are sent and not answered: further ones wait in the thread, whose heap is bounded. */
const CALLS_UNDERWAY = 100

interface Waiting {
  resolve: (value: never) => void
  reject: (reason: unknown) => void
}

/** `open` takes the other end of the port to the main thread; it is made with the first call. */
export function createCalls(signal: AbortSignal, open: (port: MessagePort) => void): Calls {
  const waiting = new Map<number, Waiting>()
  const unsent: Call[] = []
  let port: MessagePort | null = null
  let count = 0
  let underway = 0

  // At a shutdown what is nearly done may be completed: its calls are answered on.
  const isStopped = () => signal.aborted && signal.reason !== 'shutdown'

  signal.addEventListener('abort', () => isStopped() && rejectAll(), { once: true })

  function connect(): MessagePort {
    const channel = new MessageChannel()
    channel.port1.on('message', (answer: Answer) => {
      const { resolve, reject } = waiting.get(answer.call) ?? {}
      waiting.delete(answer.call)
      underway -= 1
      sendNext()
      if ('error' in answer) reject?.(Object.assign(new Error(answer.error.message), answer.error))
      else resolve?.(answer.value as never)
    })
    open(channel.port2)
    return channel.port1
  }

  function sendNext(): void {
    const next = underway < CALLS_UNDERWAY ? unsent.shift() : undefined
    if (next === undefined) return
    port ??= connect()
    try {
      port.postMessage(next)
      underway += 1
    } catch (error) {
      // Its arguments hold what cannot be sent, such as a function.
      waiting.get(next.call)?.reject(error)
      waiting.delete(next.call)
      sendNext()
    }
  }

  function rejectAll(): void {
    unsent.length = 0
    for (const { reject } of waiting.values()) reject(stopped())
    waiting.clear()
  }

  function stopped(): Error {
    return new Error(`the job was asked to stop (${signal.reason})`)
  }

  return {
    call(method, args) {
      if (isStopped()) return Promise.reject(stopped())
      count += 1
      const request: Call = { call: count, method, args }
      return new Promise((resolve, reject) => {
        waiting.set(request.call, { resolve, reject })
        unsent.push(request)
        sendNext()
      })
    },
    end() {
      port?.close()
      unsent.length = 0
      waiting.clear()
    },
  }
}
