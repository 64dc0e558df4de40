// What threads post: counted for the run that posts it, read, and given on where it is that run's to say.
import type { Worker } from 'node:worker_threads'
import type { Failure } from '../outcome.js'
import { type Allowance, createAllowance } from './allowance.js'
import { createMessageReader, isStarted } from './messages.js'
import { type Limits, lastLine, type RunKey, type ThreadMessage } from './protocol.js'
import { createStrays } from './strays.js'

/**
 * Messages of one run, beside its log lines: `ctx` posts a few, timers that throw a thousand a second, a loop a million.
 * What is within costs the main thread some hundredths of its time.
 */
const MESSAGES = { burst: 2_000, a_second: 2_000 }
/** Each is a write; a thread posts four a second, and the last one comes with the report. */
const PROGRESS = { burst: 20, a_second: 10 }

export interface InboxOptions {
  limits: Limits
  /** False: no run of this pool waits for that message. */
  onStarted(run: RunKey, thread: Worker): boolean
  /** From the thread of that run, which may have ended meanwhile. */
  onMessage(message: ThreadMessage): void
  onLog(run: RunKey, message: string): void
  onStrayError(run: RunKey | null, failure: Failure): void
  /** That run posts in masses: none of it is read any more. */
  onFlood(run: RunKey): void
}

/** The run that a thread began last: what it posted before its end may come after its outcome. */
interface Sender extends RunKey {
  messages: Allowance
  progress: Allowance
  lines: number
  flooded: boolean
}

export interface Inbox {
  receive(value: unknown, thread: Worker): void
  onStrayError: InboxOptions['onStrayError']
}

export function createInbox(options: InboxOptions): Inbox {
  const { limits, onLog } = options
  const read = createMessageReader(limits)
  const onStrayError = createStrays(options.onStrayError)
  const senders = new WeakMap<Worker, Sender>()

  function receive(value: unknown, thread: Worker): void {
    const sender = senders.get(thread)
    if (sender !== undefined && !sender.messages.take()) {
      tellFlood(sender)
      // The thread may have gone on to its next job.
      if (!isStarted(value)) return
    }
    const message = read(value)
    if (message === null) return
    if (message.kind === 'started') begin(message, thread)
    else if (sender?.id === message.id && sender.run === message.run) take(sender, message)
    else if (message.kind === 'uncaught') onStrayError(message, message.failure)
    else if (message.kind === 'calls') message.port.close()
  }

  function begin({ id, run }: RunKey, thread: Worker): void {
    if (!options.onStarted({ id, run }, thread)) return
    senders.set(thread, {
      id,
      run,
      messages: createAllowance(limits.log_lines + MESSAGES.burst, MESSAGES.a_second),
      progress: createAllowance(PROGRESS.burst, PROGRESS.a_second),
      lines: 0,
      flooded: false,
    })
  }

  function take(sender: Sender, message: ThreadMessage): void {
    if (message.kind === 'log') keep(sender, message.message)
    else if (message.kind !== 'progress' || sender.progress.take()) options.onMessage(message)
  }

  /** The thread counts too, but only what comes by `ctx`. */
  function keep(sender: Sender, line: string): void {
    sender.lines += 1
    if (sender.lines < limits.log_lines) onLog(sender, line)
    else if (sender.lines === limits.log_lines) onLog(sender, lastLine(limits.log_lines))
  }

  function tellFlood(sender: Sender): void {
    if (sender.flooded) return
    sender.flooded = true
    options.onFlood(sender)
  }

  return { receive, onStrayError }
}
