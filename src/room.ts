// Waits for room in a full queue: any number of clients, one woken for each job that leaves the pending ones, in turn.
import type { EventBus } from './events.js'

/** Resolves when there may be room, after `ms`, or when `gone` fires. */
export type WaitForRoom = (ms: number, gone: AbortSignal) => Promise<void>

export function createRoom(bus: EventBus): WaitForRoom {
  const waiting = new Set<() => void>()

  bus.subscribe((event) => {
    const here = event.kind === 'job' && event.job.status !== 'pending' && event.verb !== 'submit'
    if (!here && !(event.kind === 'elsewhere' && event.left)) return
    for (const wake of waiting) return wake()
  })

  return (ms, gone) =>
    new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        gone.removeEventListener('abort', wake)
        waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      gone.addEventListener('abort', wake)
      waiting.add(wake)
      if (gone.aborted) wake()
    })
}
