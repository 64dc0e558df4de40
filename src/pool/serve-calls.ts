// Answers what the handler of one run asks of the main thread, a few calls at a time.
import { setImmediate as turn } from 'node:timers/promises'
import type { MessagePort } from 'node:worker_threads'
import { PROBLEMS, ServiceError } from '../errors.js'
import { readCall } from './messages.js'
import type { Answer, Call } from './protocol.js'

const CALLS_AT_ONCE = 4
/** `ctx` itself sends no more than CALLS_UNDERWAY of calls.ts. */
const MAX_WAITING = 1_000

/**
 * With a turn of the event loop before each: a handler that calls in masses holds up only itself. Where more calls wait
 * than `ctx` ever sends, the port is closed, and `flooded` is told.
 */
export function serveCalls(
  port: MessagePort,
  serve: (method: string, args: unknown) => Promise<unknown>,
  flooded: () => void,
): void {
  const waiting: Call[] = []
  let busy = 0

  async function serveNext(): Promise<void> {
    busy += 1
    for (let call = waiting.shift(); call !== undefined; call = waiting.shift()) {
      await turn()
      port.postMessage(await answer(call))
    }
    busy -= 1
  }

  function answer({ call, method, args }: Call): Promise<Answer> {
    return serve(method, args).then(
      (value) => ({ call, value }),
      (error: unknown) => ({ call, error: refusalOf(error) }),
    )
  }

  port.on('message', (message: unknown) => {
    const call = readCall(message)
    if (call === null) return
    waiting.push(call)
    if (busy < CALLS_AT_ONCE) void serveNext()
    if (waiting.length <= MAX_WAITING) return
    port.close()
    flooded()
  })
  // Nobody is there any more to be answered.
  port.on('close', () => waiting.splice(0))
}

/** As plain data. What was wrong with the call itself will be wrong at a further attempt too. */
function refusalOf(error: unknown): { message: string; retryable: boolean } {
  const message = error instanceof Error ? error.message : String(error)
  return { message, retryable: !(error instanceof ServiceError && PROBLEMS[error.code].status < 500) }
}
