// Removes the files of runs that count no more: those that did not complete, and those whose job is gone or runs again.
import { setImmediate as turn } from 'node:timers/promises'
import type { ArtifactStore } from '../artifacts.js'
import type { EventBus } from '../events.js'
import type { Job } from '../job.js'
import type { RunKey } from '../pool/protocol.js'
import type { Store } from '../store/store.js'
import { every } from './every.js'

export interface ArtifactJanitor {
  /** Also looks through all that a crash may have left behind, in the background. */
  start(): void
  /** Resolves when nothing is being removed any more; what is left is found at the next start. */
  stop(): Promise<void>
}

export interface JanitorOptions {
  files: ArtifactStore
  store: Store
  bus: EventBus
}

/** How soon after a run came to count no more its chunks are removed. */
const SOON_MS = 1_000

export function createArtifactJanitor({ files, store, bus }: JanitorOptions): ArtifactJanitor {
  const { sweep: sweepChunks } = files
  const removals = new Set<Promise<void>>()
  /** Folders are looked through again and again where another node may rescue the runs of this one. */
  const loop = sweepChunks === null ? null : every('artifacts', bus, () => sweepAll(sweepChunks))
  let stopped = false

  bus.subscribe((event) => {
    if (event.kind === 'late_outcome') remove(event)
    else if (event.kind === 'pruned') event.artifacts.forEach(remove)
    else if (event.kind === 'job' && event.verb !== 'claim' && mayLeave(event.job)) remove(event.job)
  })

  const mayLeave = ({ run, status, artifacts }: Job) =>
    run > 0 && (status !== 'completed' || (loop !== null && artifacts !== null))

  function remove({ id, run }: RunKey): void {
    loop?.within(SOON_MS)
    inBackground(`removing artifacts of ${id}`, removeUnlessItCounts({ id, run }))
  }

  function inBackground(doing: string, work: Promise<void>): void {
    const removal = work
      .catch((error: unknown) => bus.publish({ kind: 'store_trouble', doing, message: String(error) }))
      .finally(() => removals.delete(removal))
    removals.add(removal)
  }

  /** An outcome may be late because it was stored before, or the job may run again already, on another node too. */
  async function removeUnlessItCounts(run: RunKey): Promise<void> {
    const job = await store.get(run.id)
    const counts =
      job?.run === run.run && (job.status === 'processing' || (job.status === 'completed' && loop === null))
    if (!counts) await files.remove(run)
  }

  async function sweepFolders(): Promise<void> {
    for await (const run of files.list()) {
      if (stopped) return
      await removeUnlessItCounts(run)
      // Neither the list nor the store need a turn of the event loop: others do.
      await turn()
    }
  }

  async function sweepAll(sweepChunks: () => Promise<boolean>): Promise<number> {
    await sweepFolders()
    while (!stopped && (await sweepChunks()));
    return Number.POSITIVE_INFINITY
  }

  return {
    start() {
      if (loop === null) inBackground('looking for artifacts left behind', sweepFolders())
      else loop.start()
    },
    async stop() {
      stopped = true
      await loop?.stop()
      await Promise.all(removals)
    },
  }
}
