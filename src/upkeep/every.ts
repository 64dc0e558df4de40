// The one timer loop: runs a pass, waits, runs the next; a pass that throws is told and the loop goes on.
import type { EventBus, LoopState } from '../events.js'

export interface Loop {
  start(): void
  /** Runs the next pass in `ms` milliseconds at the latest. */
  within(ms: number): void
  /** Resolves when no pass runs any more. */
  stop(): Promise<void>
}

/** Longer waits are cut to this: clocks jump, and a timer of 2^31 ms would fire at once. */
export const LONGEST_WAIT_MS = 60_000

/** `pass` answers how many milliseconds to wait until the next one. Each turn is told on the bus, for /livez. */
export function every(name: string, bus: EventBus, pass: () => Promise<number>, retry_ms = 1_000): Loop {
  let timer: NodeJS.Timeout | undefined
  let immediate: NodeJS.Immediate | undefined
  let due_at = Number.POSITIVE_INFINITY
  let running: Promise<void> = Promise.resolve()
  let busy = false
  let active = false

  const tell = (state: LoopState, wait?: number) =>
    bus.publish({
      kind: 'loop',
      loop: name,
      state,
      ...(wait !== undefined && { wait: Math.min(wait, LONGEST_WAIT_MS) }),
    })

  async function turn(): Promise<void> {
    busy = true
    tell('running')
    due_at = Number.POSITIVE_INFINITY
    let wait = retry_ms
    try {
      wait = await pass()
    } catch (error) {
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined }
      bus.publish({ kind: 'pass_failed', loop: name, message, stack })
    }
    busy = false
    tell('waiting', wait)
    within(wait)
    arm()
  }

  function within(ms: number): void {
    const at = performance.now() + ms
    if (at >= due_at) return
    due_at = at
    // A pass that is running arms the timer when it ends.
    if (!busy) arm()
  }

  function arm(): void {
    disarm()
    if (!active) return
    const begin = () => {
      running = turn()
    }
    const wait = Math.min(LONGEST_WAIT_MS, due_at - performance.now())
    // At once means within this turn of the event loop: a timer of 0 ms would take at least 1 ms.
    if (wait <= 0) immediate = setImmediate(begin)
    else timer = setTimeout(begin, wait)
  }

  function disarm(): void {
    clearTimeout(timer)
    clearImmediate(immediate)
  }

  return {
    start() {
      active = true
      tell('waiting')
      // Wishes from before the start have set no timer.
      due_at = Number.POSITIVE_INFINITY
      within(0)
    },
    within,
    async stop() {
      active = false
      disarm()
      await running
      // Told last: a pass that keeps the loop from stopping is stuck.
      tell('stopped')
    },
  }
}
