// What handlers may ask of the main thread: jobmill's own jobs, artifacts of other jobs, submissions.
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { z } from 'zod'
import type { ArtifactQuota } from './artifact-quota.js'
import type { ArtifactStore } from './artifacts.js'
import { ServiceError } from './errors.js'
import { inspect } from './explain.js'
import { CLOCK_SLACK_MS, lowestIdAt } from './ids.js'
import { FINAL_STATUSES, JOB_STATUSES, type Job } from './job.js'
import type { JobTypes } from './job-types.js'
import { dependencyJson, jobJson } from './job-view.js'
import { refuseExtremes } from './json.js'
import { isLongerThan } from './pool/json-size.js'
import type { ScanFilter, Store } from './store/store.js'
import { MAX_ENVELOPE_BYTES, readSubmission } from './submission.js'
import type { JobTracker } from './tracker.js'

export interface HandlerCallsOptions {
  store: Store
  tracker: JobTracker
  types: JobTypes
  files: ArtifactStore
  quota: ArtifactQuota
  /** Bytes of a payload as JSON. */
  max_payload: number
  /** Bytes of a checkpoint as JSON. */
  max_checkpoint: number
  /** Milliseconds since 1970. */
  now(): number
}

/** Jobs that one call of `jobs.prune` deletes at the most, and bytes that one reads of an artifact. */
const PRUNE_STEP = 100
const READ_STEP = 262_144
/** Characters of a call's arguments, beside the texts that `submit` and `checkpoint` carry. */
const MAX_ARGUMENTS = 10_000

const time = z
  .number()
  .min(0)
  .max(Date.UTC(9999, 11, 31))
const cursor = z.string().max(100).nullable().default(null)
const filter = z.strictObject({
  status: z.array(z.enum(JOB_STATUSES)).optional(),
  type: z.string().max(64).optional(),
  created_from: time.optional(),
  created_before: time.optional(),
})
const pruneFilter = z.strictObject({
  status: z.array(z.enum(FINAL_STATUSES)).default([...FINAL_STATUSES]),
  type: z.string().max(64).optional(),
  finished_before: time,
  dry_run: z.boolean().default(false),
})
const SCHEMAS = {
  'jobs.page': z.strictObject({ filter, cursor }),
  'jobs.count': z.strictObject({ filter }),
  'jobs.prune': z.strictObject({ filter: pruneFilter, cursor }),
  'artifacts.find': z.strictObject({ id: z.string(), name: z.string() }),
  'artifacts.read': z.strictObject({ id: z.string(), name: z.string(), start: z.int().min(0) }),
  'artifacts.reserve': z.strictObject({ bytes: z.int().min(0) }),
  checkpoint: z.strictObject({ value: z.string() }),
  'checkpoint.last': z.strictObject({}),
  dependency: z.strictObject({ index: z.int().min(0) }),
  submit: z.strictObject({ job: z.string() }),
}
type Method = keyof typeof SCHEMAS

/** While the database is away. */
const RETRY_MS = 500
const AWAY: readonly unknown[] = ['store_busy', 'outcome_unknown']

/** What may be done twice is done again while the database is away: a run goes on meanwhile. */
async function patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof ServiceError) || !AWAY.includes(error.code)) throw error
      await sleep(RETRY_MS, undefined, { signal })
    }
  }
}

/** Answers one call of a running job's handler; rejects with what its argument lacks, and when `signal` fires. */
export type HandlerCalls = (job: Job, method: string, args: unknown, signal: AbortSignal) => Promise<unknown>

export function createHandlerCalls(options: HandlerCallsOptions): HandlerCalls {
  const { store, tracker, types, files, quota, max_payload, max_checkpoint, now } = options

  const longest: Partial<Record<Method, number>> = {
    submit: max_payload + MAX_ENVELOPE_BYTES + MAX_ARGUMENTS,
    checkpoint: max_checkpoint + MAX_ARGUMENTS,
  }

  const methods: { [M in Method]: (args: z.output<(typeof SCHEMAS)[M]>, job: Job, signal: AbortSignal) => unknown } = {
    async 'jobs.page'({ filter, cursor }, job) {
      const { jobs, next } = await store.scan(untilStartOf(job, filter), cursor ?? startOf(filter))
      return { jobs: `[${jobs.map(jobJson)}]`, next_cursor: next }
    },

    async 'jobs.count'({ filter }, job, signal) {
      let count = 0
      let after: string | null = startOf(filter)
      while (after !== null) {
        signal.throwIfAborted()
        const { jobs, next } = await store.tally(untilStartOf(job, filter), after)
        count += jobs
        after = next
        await turn()
      }
      return count
    },

    async 'jobs.prune'({ filter, cursor }) {
      const { status, type, finished_before, dry_run } = filter
      if (dry_run) {
        const { jobs, bytes, next } = await store.tally({ status, type, finished_before }, cursor ?? '')
        return { jobs, bytes, next_cursor: next }
      }
      const among = type === undefined ? { except: [] } : { only: [type] }
      const keep = { max_count: null, max_bytes: null }
      const pruned = await tracker.prune({ status, types: among, finished_before, ...keep, limit: PRUNE_STEP })
      return { jobs: pruned.ids.length, bytes: pruned.bytes, next_cursor: pruned.more ? 'more' : null }
    },

    async 'artifacts.find'({ id, name }) {
      return (await findArtifact(store, id, name)).artifact
    },

    async 'artifacts.read'({ id, name, start }) {
      const { run, index } = await findArtifact(store, id, name)
      return files.read({ id, run }, index, start, READ_STEP)
    },

    'artifacts.reserve': ({ bytes }, job, signal) => quota.reserve(job.id, bytes, signal),

    async checkpoint({ value }, job, signal) {
      if (value.length > max_checkpoint) throw new ServiceError('invalid_request', 'the checkpoint is too large')
      await patiently(() => tracker.checkpoint(job, value), signal)
    },

    'checkpoint.last': (_, job, signal) => patiently(() => store.lastCheckpoint(job.id), signal),

    async dependency({ index }, { depends_on }, signal) {
      const job = await patiently(() => store.get(depends_on[index] ?? ''), signal)
      return job === null ? null : dependencyJson(job)
    },

    async submit({ job }) {
      const at = now()
      const body: unknown = JSON.parse(job)
      refuseExtremes(body)
      const submission = readSubmission(body, { types, max_payload }, at)
      const { job: stored, deduplicated } = await tracker.submit(submission, at, 'handler')
      return { id: stored.id, status: stored.status, deduplicated }
    },
  }

  return async (job, method, args, signal) => {
    if (!isMethod(method)) throw new ServiceError('invalid_request', `a handler cannot call ${method}`)
    // Before anything else looks at them: handlers can open a port themselves, and send what they like.
    if (isLongerThan(args, longest[method] ?? MAX_ARGUMENTS)) {
      throw new ServiceError('invalid_request', `${method}: its arguments are too large`)
    }
    const checked = inspect<z.ZodType>(SCHEMAS[method], args)
    if (!checked.ok) {
      const [first] = checked.findings
      throw new ServiceError('invalid_request', `${method}: ${first?.path.join('.')}: ${first?.message}`)
    }
    signal.throwIfAborted()
    const serve = methods[method] as (args: unknown, job: Job, signal: AbortSignal) => unknown
    return serve(checked.data, job, signal)
  }
}

/** @throws ServiceError artifact_not_found */
export async function findArtifact(store: Store, id: string, name: string) {
  const job = await store.get(id)
  const index = job?.artifacts?.findIndex((artifact) => artifact.name === name) ?? -1
  const artifact = job?.artifacts?.[index]
  if (job === null || artifact === undefined)
    throw new ServiceError('artifact_not_found', `job ${id.slice(0, 100)} has no artifact "${name.slice(0, 255)}"`)
  return { job, run: job.run, index, artifact }
}

function isMethod(method: string): method is Method {
  return Object.hasOwn(SCHEMAS, method)
}

/** Jobs that are submitted while the handler reads are left out, so that what it counts is what it gets. */
function untilStartOf(job: Job, filter: ScanFilter): ScanFilter {
  const end = (job.started_at ?? 0) + 1
  return { ...filter, created_before: Math.min(filter.created_before ?? end, end) }
}

function startOf({ created_from }: ScanFilter): string {
  return created_from === undefined ? '' : lowestIdAt(created_from - CLOCK_SLACK_MS)
}
