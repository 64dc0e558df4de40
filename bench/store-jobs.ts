// No-op jobs through the Store interface, on PostgreSQL: what a node costs its database, without HTTP and threads.
import { createIds } from '../src/ids.js'
import type { JobWithPayload } from '../src/job.js'
import { newJob } from '../src/new-job.js'
import { openPostgresStore } from '../src/store/postgres/postgres.js'
import type { Ending, Store } from '../src/store/store.js'

export const LIST = 1_000
export const BATCH = 500
export const SLOTS = 8
/** `batches` of BATCH jobs at once, whose ends are told together; or SLOTS jobs at once, the end of each told by itself. */
export type Way = 'batches' | 'slots'

const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const ROOM = Number.MAX_SAFE_INTEGER
const BOUNDS = { max_pending: ROOM, max_stored: ROOM, max_bytes: ROOM }
const LEASE_MS = 60_000
const JOB = { type: 'noop', payload: '{"n":1}', priority: 3, run_at: null, max_attempts: 4, timeout_ms: 60_000 }
const newId = createIds(Date.now)

export const openStore = (source: string, node: string): Promise<Store> =>
  openPostgresStore({ source, node, lease: LEASE_MS }, RULES)

export async function submit(store: Store, jobs: number): Promise<void> {
  for (let stored = 0; stored < jobs; stored += LIST) {
    const now = Date.now()
    const list = Array.from({ length: LIST }, () => newJob({ id: newId(), ...JOB }, now, RULES))
    await store.submit(list, BOUNDS)
  }
}

/**
 * Ends jobs until there are none, or at least `jobs` have ended, and answers how many. As the dispatcher does it, the ends
 * of runs are told in the turn in which their slots are claimed for. Two batches are under way at once, as with pg-boss and as
 * in two nodes: a dispatcher has one claim under way.
 */
export async function drain(store: Store, node: string, way: Way, jobs = ROOM): Promise<number> {
  let ended = 0
  async function loop(first: number): Promise<void> {
    const slots = Array.from({ length: way === 'batches' ? BATCH : SLOTS }, (_, i) => first + i)
    const shares = [{ type: JOB.type, limit: slots.length, reserved: 0 }]
    const claim = async () => (await store.claim({ node, shares, slots, now: Date.now() })).claimed
    for (let running = await claim(); running.length > 0; ) {
      ended += running.length
      const settled = settle(store, running, way)
      const next = ended < jobs ? claim() : []
      await settled
      running = await next
    }
  }
  await Promise.all(way === 'batches' ? [loop(1), loop(1 + BATCH)] : [loop(1)])
  return ended
}

async function settle(store: Store, running: readonly JobWithPayload[], way: Way): Promise<void> {
  const endings = running.map(complete)
  const lists = way === 'batches' ? [endings] : endings.map((ending) => [ending])
  for (const { ended } of await Promise.all(lists.map((list) => store.settle(list))))
    if (ended.some((job) => job?.status !== 'completed')) throw new Error('a run was over before it ended')
}

function complete({ id, run }: JobWithPayload): Ending {
  return { id, run, step: { verb: 'complete', result: null, artifacts: [] }, now: Date.now() }
}
