// Deletes final jobs that are older or more than `retention` allows, in steps that hold up nobody.
import type { EventBus } from '../events.js'
import type { FinalStatus } from '../job.js'
import type { JobType } from '../job-types.js'
import type { Retention } from '../settings.js'
import type { PruneRequest } from '../store/store.js'
import type { JobTracker } from '../tracker.js'
import { every, type Loop } from './every.js'

/** Jobs that one step deletes at the most. */
const STEP = 100
/** How soon what became too old or too many is looked for. */
const REST_MS = 60_000

type Policy = Omit<PruneRequest, 'finished_before' | 'limit'> & { max_age: number | null }

export interface PrunerOptions {
  tracker: JobTracker
  bus: EventBus
  retention: Retention
  types: Iterable<Pick<JobType, 'name' | 'retention'>>
  now(): number
}

export function createPruner({ tracker, bus, retention, types, now }: PrunerOptions): Loop {
  const policies = policiesOf(retention, [...types])
  return every('pruner', bus, async () => {
    const begun = performance.now()
    let more = false
    for (const { max_age, ...policy } of policies) {
      const finished_before = max_age === null ? null : now() - max_age
      more = (await tracker.prune({ ...policy, finished_before, limit: STEP })).more || more
    }
    // While there is much to delete, others get as much of the time.
    return more ? performance.now() - begun : REST_MS
  })
}

/** One policy for each status and all types together, and one for each type that has its own for that status. */
export function policiesOf(retention: Retention, types: readonly Pick<JobType, 'name' | 'retention'>[]): Policy[] {
  const statuses = Object.keys(retention) as FinalStatus[]
  return statuses.flatMap((status) => {
    const own = types.filter((type) => type.retention[status] !== undefined)
    const policy = (kept: Retention[FinalStatus], among: PruneRequest['types']): Policy => ({
      status: [status],
      types: among,
      max_age: kept.max_age ?? null,
      max_count: kept.max_count ?? null,
      max_bytes: kept.max_bytes ?? null,
    })
    return [
      policy(retention[status], { except: own.map(({ name }) => name) }),
      ...own.map((type) => policy({ ...retention[status], ...type.retention[status] }, { only: [type.name] })),
    ]
  })
}
