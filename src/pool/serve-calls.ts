// Answers what the handler of one run asks of the main thread, a few calls at a time.
import { setImmediate as turn } from 'node:timers/promises'
import type { MessagePort } from 'node:worker_threads'
import { PROBLEMS, ServiceError } from '../errors.js'
import { type Answer, type Call, isCall } from './protocol.js'

const CALLS_AT_ONCE = 4

/** With a turn of the event loop before each: a handler that calls in masses holds up only itself. */
export function serveCalls(port: MessagePort, serve: (method: string, args: unknown) => Promise<unknown>): void {
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

  port.on('message', (call: unknown) => {
    if (!isCall(call)) return
    waiting.push(call)
    if (busy < CALLS_AT_ONCE) void serveNext()
  })
}

/** As plain data. What was wrong with the call itself will be wrong at a further attempt too. */
function refusalOf(error: unknown): { message: string; retryable: boolean } {
  const message = error instanceof Error ? error.message : String(error)
  return { message, retryable: !(error instanceof ServiceError && PROBLEMS[error.code].status < 500) }
}
