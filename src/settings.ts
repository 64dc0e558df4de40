// Every key of config.yaml with its range and its default.
import { z } from 'zod'
import { SCOPES } from './api-key.js'
import { bytes } from './bytes.js'
import { duration } from './duration.js'
import { FINAL_STATUSES } from './job.js'
import { database, folder, host, number, orEmpty, origin, section, whole } from './setting-kinds.js'

const KIB = 1_024
const MIB = 1_048_576
const GIB = 1_073_741_824
const SECOND = 1_000
const HOUR = 3_600 * SECOND

/** Defaults are written as people write them in the file, and pass the same checks. */
export const settings = section({
  server: section({
    host: host().prefault('127.0.0.1'),
    /** 0 picks a free one. */
    port: whole(0, 65_535).prefault(8080),
    body_limit: bytes({ min: KIB, max: 65_536 * KIB }).prefault('1MiB'),
    /** What a slow client may take: for the headers of a request, for all of it, and between two. */
    header_timeout: duration({ min: 100, max: HOUR }).prefault('10s'),
    body_timeout: duration({ min: 100, max: HOUR }).prefault('30s'),
    idle_timeout: duration({ min: SECOND, max: HOUR }).prefault('65s'),
    max_connections: whole(1, 100_000).prefault(2_000),
    /** Sites whose pages may use the API from a browser. */
    cors_origins: z.array(origin(), 'must be a list of origins').prefault([]),
  }),
  data: section({
    database: section({ master: database() }),
    artifacts: section({
      /** Where they are kept when their job completes. Left out: `database` with the driver postgres. */
      store: z.enum(['folder', 'database']).optional(),
      /** With `database` it is where runs write them until then. */
      dir: folder().prefault('./data/artifacts'),
      /** Of one job, all together. */
      max_bytes: bytes({ min: 0, max: 1_024 * GIB }).prefault('1GiB'),
    }),
    /** What payloads, results and artifacts of all jobs may take before no job and no artifact is taken any more. */
    max_bytes: bytes({ min: 0, max: 1_048_576 * GIB }).prefault('10GiB'),
    /** A file beside the database that is deleted when its disk is full, so that outcomes can still be stored. 0: none. */
    ballast: bytes({ min: 0, max: GIB }).prefault('8MiB'),
    /** Free space below which the server is not ready, of the disks of database and artifacts. 0: any will do. */
    min_free: bytes({ min: 0, max: 1_048_576 * GIB }).prefault('32MiB'),
    /** How long an Idempotency-Key is known. */
    idempotency_window: duration({ min: SECOND, max: 366 * 24 * HOUR }).prefault('24h'),
    /** Jobs that are not final, so that `delay` is no way around `queue_size`. */
    max_stored: whole(1, 1_000_000_000).prefault(1_000_000),
  }),
  worker: orEmpty(
    z
      .strictObject({
        max_workers: workers().prefault(10),
        min_workers: workers().prefault(1),
        queue_size: whole(1, 100_000_000).prefault(100),
        job_timeout: jobTimeout().prefault(300),
        /** Heap of one thread; without a bound V8 collects late, and many busy threads take much. */
        resource_limits: section({ max_old_generation_mb: whole(16, 65_536).prefault(512) }),
        /** A thread is replaced after so many jobs, or where a job leaves more on its heap: what leaks ends with it. */
        recycle: section({
          jobs: whole(1, 1_000_000_000).prefault(10_000),
          heap: bytes({ min: 16 * MIB, max: 64 * GIB }).prefault('256MiB'),
        }),
        types: z.array(folder(), 'must be a list of folders').prefault([]),
        /** Names of the types that this node runs; jobs of others wait for other nodes. Null: it runs all. */
        only: z.array(z.string(), 'must be a list of job types').min(1).nullable().prefault(null),
        shutdown_grace: duration({ max: HOUR }).prefault(30),
        cancel_grace: duration({ max: HOUR }).prefault(5),
        priority_aging: duration().prefault('1h'),
        poison_after: whole(1, 100).prefault(3),
        poll: duration({ min: 100, max: 60 * SECOND }).prefault('1s'),
        /** How long a node of several is taken for alive after it was heard of last. */
        lease: duration({ min: SECOND, max: HOUR }).prefault('15s'),
        backoff: section(backoffWithDefaults()),
      })
      .refine(({ min_workers, max_workers }) => !(min_workers > max_workers), {
        path: ['min_workers'],
        error: 'must not be above worker.max_workers',
        // Said beside problems of other keys too: then the object may lack keys, or be none.
        when: ({ issues }) => !issues.some(({ path }) => path?.[0] === 'min_workers' || path?.[0] === 'max_workers'),
      }),
  ),
  /** What one job may make the service keep; beyond it that job alone fails or is cut. */
  limits: section({
    payload: bytes({ min: 1, max: 64 * MIB }).prefault('1MiB'),
    result: bytes({ min: 1, max: 64 * MIB }).prefault('1MiB'),
    error: bytes({ min: 256, max: MIB }).prefault('16KiB'),
    log_lines: whole(1, 1_000_000).prefault(1_000),
    log_line: bytes({ min: 64, max: MIB }).prefault('4KiB'),
    checkpoint: bytes({ min: 1, max: 64 * MIB }).prefault('64KiB'),
  }),
  jobs: orEmpty(z.record(z.string(), orEmpty(z.record(z.string(), z.unknown())))),
  /** Each as in PUT /schedules/:name; checked when the job types are known. */
  schedules: orEmpty(z.record(z.string(), z.unknown())),
  digests: orEmpty(
    z.record(z.string().regex(/^[\w.-]{1,50}$/, 'must have a name of 1 to 50 letters, digits and ._-'), digest()),
  ),
  retention: section(retentionWithDefaults()),
  auth: section({
    keys: z
      .array(apiKey(), 'must be a list of keys')
      .prefault([])
      .superRefine((keys, ctx) => {
        for (const field of ['name', 'sha256'] as const) {
          const twice = keys.findIndex((key, i) => keys.findIndex((other) => other[field] === key[field]) < i)
          if (twice >= 0)
            ctx.addIssue({ code: 'custom', path: [twice, field], message: 'must not be that of another key' })
        }
      }),
  }),
})

/** Its times are checked with the schedules, its mail when the job types are known. */
function digest() {
  const times = 'must be a cron expression, or a schedule without its job'
  const statuses = z.array(z.enum(FINAL_STATUSES)).min(1)
  return z.strictObject({
    schedule: z.union([z.string(), z.looseObject({ job: z.undefined(times).optional() })], times),
    recipients: z.unknown().refine((to) => to !== undefined, 'is missing'),
    subject: z.string(),
    /** Ends of jobs that are events as well. */
    job_events: z
      .strictObject({
        statuses: statuses.prefault(['failed']),
        /** Null: of all types. */
        types: z.array(z.string()).min(1).nullable().prefault(null),
      })
      .nullable()
      .prefault(null),
  })
}

function apiKey() {
  const name = 'must be a name of up to 64 letters, digits and ._-'
  const sha256 = 'must be the SHA-256 of the key, 64 hexadecimal digits; "jobmill key" makes one'
  return z.strictObject({
    name: z.string(name).regex(/^[\w.-]{1,64}$/, name),
    sha256: z
      .string(sha256)
      .regex(/^[\da-f]{64}$/i, sha256)
      .toLowerCase(),
    scopes: z
      .array(z.enum(SCOPES))
      .min(1)
      .refine((scopes) => new Set(scopes).size === scopes.length, 'must not have one twice'),
  })
}

export type Settings = z.output<typeof settings>
export type Retention = Settings['retention']

/** How long final jobs are kept, by status; the same under `retention` and under `jobs.<type>.retention`. */
export function retentionKeys() {
  const kept = () =>
    section({
      max_age: z.union([z.literal('forever').transform(() => null), duration({ min: SECOND })]).optional(),
      max_count: whole(0, 1_000_000_000).optional(),
      max_bytes: bytes({ min: 0, max: 1_048_576 * GIB }).optional(),
    })
  return { completed: kept(), failed: kept(), cancelled: kept() }
}

/** Failed jobs are kept longer: somebody may still want to look at them. */
function retentionWithDefaults() {
  const { completed, failed, cancelled } = retentionKeys()
  const unless = (max_age: string, schema: typeof completed) =>
    z.preprocess((value) => (typeof (value ?? {}) === 'object' ? { max_age, ...(value as object) } : value), schema)
  return { completed: unless('7d', completed), failed: unless('30d', failed), cancelled: unless('7d', cancelled) }
}

/** How many jobs or threads there may be at once. */
export function workers(min = 1) {
  return whole(min, 512)
}

/** The keys of a backoff, all optional; the same under `worker` and under `jobs.<type>`. */
export function backoffKeys() {
  return { base: duration(), factor: number(1, 10), max: duration(), jitter: number(0, 1) }
}

function backoffWithDefaults() {
  const { base, factor, max, jitter } = backoffKeys()
  return {
    base: base.prefault('1s'),
    factor: factor.prefault(2),
    max: max.prefault('5m'),
    jitter: jitter.prefault(0.1),
  }
}

/** The range of a run's timeout, the same under `worker` and under `jobs.<type>`: a timer of Node ends at 24.8 days. */
export function jobTimeout() {
  return duration({ min: 100, max: 24 * 24 * HOUR })
}
