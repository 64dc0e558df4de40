// Removes the files of runs that count no more: those that did not complete, and those whose job is gone or runs again.
import { setImmediate as turn } from 'node:timers/promises'
import type { ArtifactFiles } from '../artifacts.js'
import type { EventBus } from '../events.js'
import type { RunKey } from '../pool/protocol.js'
import type { Store } from '../store/store.js'

export interface ArtifactJanitor {
  /** Also looks through all that a crash may have left behind, in the background. */
  start(): void
  /** Resolves when nothing is being removed any more; what is left is found at the next start. */
  stop(): Promise<void>
}

export interface JanitorOptions {
  files: ArtifactFiles
  store: Store
  bus: EventBus
}

export function createArtifactJanitor({ files, store, bus }: JanitorOptions): ArtifactJanitor {
  const removals = new Set<Promise<void>>()
  let stopped = false

  bus.subscribe((event) => {
    if (event.kind === 'late_outcome') remove(event)
    else if (event.kind === 'pruned') event.artifacts.forEach(remove)
    else if (event.kind === 'job' && event.verb !== 'claim' && event.verb !== 'complete' && event.job.run > 0)
      remove(event.job)
  })

  function remove({ id, run }: RunKey): void {
    const removal = removeUnlessItCounts({ id, run })
      .catch((error: unknown) => {
        bus.publish({ kind: 'store_trouble', doing: `removing artifacts of ${id}`, message: String(error) })
      })
      .finally(() => removals.delete(removal))
    removals.add(removal)
  }

  /** An outcome may be late because it was stored before, or the job may run again already. */
  async function removeUnlessItCounts(run: RunKey): Promise<void> {
    const job = await store.get(run.id)
    const counts = job?.run === run.run && (job.status === 'completed' || job.status === 'processing')
    if (!counts) await files.remove(run)
  }

  async function sweep(): Promise<void> {
    for await (const run of files.list()) {
      if (stopped) return
      await removeUnlessItCounts(run)
      // Neither the list nor the store need a turn of the event loop: others do.
      await turn()
    }
  }

  return {
    start() {
      const sweeping = sweep()
        .catch((error: unknown) => {
          bus.publish({ kind: 'store_trouble', doing: 'looking for artifacts left behind', message: String(error) })
        })
        .finally(() => removals.delete(sweeping))
      removals.add(sweeping)
    },
    async stop() {
      stopped = true
      await Promise.all(removals)
    },
  }
}
