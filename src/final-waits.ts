// Waits for jobs to become final: any number of them, each with one timer and without asking the store meanwhile.
import type { EventBus } from './events.js'
import { isFinal } from './job.js'

export interface FinalWaits {
  /** Resolves when the job becomes final, after `ms`, when `gone` fires, or when the service stops. */
  wait(id: string, ms: number, gone: AbortSignal): Promise<void>
  /** Whether somebody waits for the job. */
  has(id: string): boolean
  /** The jobs that somebody waits for. */
  ids(): string[]
  /** Nobody waits any more, now or later. */
  end(): void
}

/** Each holds a connection: beyond `most` at once nobody waits, so that some are left for all other requests. */
export function createFinalWaits(bus: EventBus, most: number): FinalWaits {
  /** By job. */
  const waiting = new Map<string, Set<() => void>>()
  let waits = 0
  let ended = false

  bus.subscribe((event) => {
    if ((event.kind === 'job' || event.kind === 'job_elsewhere') && isFinal(event.job.status)) wake(event.job.id)
    if (event.kind === 'pruned') for (const id of event.ids) wake(id)
  })

  function wake(id: string): void {
    for (const resolve of waiting.get(id) ?? []) resolve()
  }

  return {
    wait(id, ms, gone) {
      if (ended || gone.aborted || waits >= most) return Promise.resolve()
      return new Promise((resolve) => {
        const those = waiting.get(id) ?? new Set()
        waiting.set(id, those)
        waits += 1
        const end = () => {
          clearTimeout(timer)
          gone.removeEventListener('abort', end)
          waits -= 1
          those.delete(end)
          if (those.size === 0) waiting.delete(id)
          resolve()
        }
        const timer = setTimeout(end, ms)
        gone.addEventListener('abort', end)
        those.add(end)
      })
    },
    has: (id) => waiting.has(id),
    ids: () => [...waiting.keys()],
    end() {
      ended = true
      for (const id of [...waiting.keys()]) wake(id)
    },
  }
}
