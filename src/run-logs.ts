// Log lines of runs on their way to the store: all lines of one turn of the event loop share a write.
import type { EventBus } from './events.js'
import type { RunKey } from './pool/protocol.js'
import type { RunNotes, Store } from './store/store.js'

/** `now` is milliseconds since 1970. Lines that the store refuses are told of, and lost. */
export function createRunLogs(store: Store, bus: EventBus, now: () => number): (run: RunKey, message: string) => void {
  let unwritten = new Map<string, RunNotes>()

  async function write(): Promise<void> {
    const notes = [...unwritten.values()]
    unwritten = new Map()
    try {
      await store.append(notes)
    } catch (error) {
      bus.publish({ kind: 'store_trouble', doing: 'storing log lines', message: String(error) })
    }
  }

  return ({ id, run }, message) => {
    if (unwritten.size === 0) setImmediate(() => void write())
    const key = `${id} ${run}`
    const notes = unwritten.get(key) ?? { id, run, lines: [] }
    notes.lines.push({ at: now(), message })
    unwritten.set(key, notes)
  }
}
