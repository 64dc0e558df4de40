// Removes the files of runs that count no more: those that did not complete, and those whose job is gone or runs again.
import { setImmediate as turn } from 'node:timers/promises'
import type { ArtifactStore } from '../artifacts.js'
import type { EventBus } from '../events.js'
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
  const { sweep } = files
  const removals = new Set<Promise<void>>()
  /** Runs with a folder here that went on at the start: other nodes may rescue them, and would not tell. */
  const undecided = new Set<RunKey>()
  const loop = sweep === null ? null : every('artifacts', bus, () => pass(sweep))
  let stopped = false

  bus.subscribe((event) => {
    if (event.kind === 'late_outcome') remove(event)
    else if (event.kind === 'pruned') event.artifacts.forEach(remove)
    else if (event.kind === 'job' && event.verb !== 'claim' && event.verb !== 'complete' && event.job.run > 0)
      remove(event.job)
  })

  function remove({ id, run }: RunKey): void {
    loop?.within(SOON_MS)
    inBackground(`removing artifacts of ${id}`, removeUnlessItCounts({ id, run }))
  }

  function inBackground(doing: string, work: Promise<unknown>): void {
    const removal = work
      .catch((error: unknown) => bus.publish({ kind: 'store_trouble', doing, message: String(error) }))
      .then(() => void removals.delete(removal))
    removals.add(removal)
  }

  /**
   * An outcome may be late because it was stored before, or the job may run again already, on another node too. Tells
   * whether the run goes on.
   */
  async function removeUnlessItCounts(run: RunKey): Promise<boolean> {
    const job = await store.get(run.id)
    const status = job?.run === run.run ? job.status : null
    if (status !== 'completed' && status !== 'processing') await files.remove(run)
    return status === 'processing'
  }

  async function sweepFolders(): Promise<void> {
    for await (const run of files.list()) {
      if (stopped) return
      if (await removeUnlessItCounts(run)) undecided.add(run)
      // Neither the list nor the store need a turn of the event loop: others do.
      await turn()
    }
  }

  /** One piece, so that it is seen to turn; while there is much to remove, others get as much of the time. */
  async function pass(sweep: () => Promise<boolean>): Promise<number> {
    for (const run of undecided) if (!(await removeUnlessItCounts(run))) undecided.delete(run)
    const begun = performance.now()
    return (await sweep()) ? performance.now() - begun : Number.POSITIVE_INFINITY
  }

  return {
    start() {
      inBackground('looking for artifacts left behind', sweepFolders())
      loop?.start()
    },
    async stop() {
      stopped = true
      await loop?.stop()
      await Promise.all(removals)
    },
  }
}
