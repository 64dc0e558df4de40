// How many bytes of artifacts a run may still write: bounded for each job, and for all that is stored.
import type { EventBus } from './events.js'
import type { Store } from './store/store.js'

export interface ArtifactQuota {
  /** Grants up to `bytes` to the running job; 0 where there is no room. Rejects with `refusal`. */
  reserve(id: string, bytes: number, signal: AbortSignal): Promise<number>
}

export interface QuotaOptions {
  store: Store
  bus: EventBus
  /** Bytes of one job, and of all that the store holds. */
  max_job: number
  max_stored: number
  /** Why nothing is granted now, or null. */
  refusal(): Error | null
}

/** What is granted counts until its run has ended: from then on the store counts what was really written. */
export function createArtifactQuota({ store, bus, max_job, max_stored, refusal }: QuotaOptions): ArtifactQuota {
  const granted = new Map<string, number>()

  bus.subscribe((event) => {
    if (event.kind === 'job' && event.verb !== 'claim') granted.delete(event.job.id)
    if (event.kind === 'late_outcome') granted.delete(event.id)
  })

  return {
    async reserve(id, bytes, signal) {
      const refused = refusal()
      if (refused !== null) throw refused
      const stored = Object.values(await store.counts()).reduce((sum, type) => sum + type.bytes, 0)
      // A run that ended meanwhile must leave no grant behind.
      signal.throwIfAborted()
      const underway = [...granted.values()].reduce((sum, n) => sum + n, 0)
      const own = granted.get(id) ?? 0
      const grant = Math.max(0, Math.min(bytes, max_job - own, max_stored - stored - underway))
      granted.set(id, own + grant)
      return grant
    },
  }
}
