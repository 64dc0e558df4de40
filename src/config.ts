// The settings of jobmill: every key of config.yaml with its range and its default.
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { bytes } from './bytes.js'
import { ConfigError, checkAt, readSource, type Source, type SourceOptions } from './config-file.js'
import { duration } from './duration.js'

type Settings = z.output<typeof settings>

/** Checked settings. Spans are milliseconds, sizes bytes, paths absolute. */
export interface Config extends Omit<Settings, 'data'>, Pick<Source, 'file' | 'locate'> {
  /** The folder that relative paths start at: the config file's, or the working directory where there is none. */
  dir: string
  data: Omit<Settings['data'], 'database'> & { database: { file: string } }
  /** Settings that are accepted and do nothing, a line each. */
  warnings: string[]
}

/**
 * Reads the settings from, in rising order of weight, the defaults, the file, `JOBMILL_…` variables and arguments.
 * The file is `file`, or `JOBMILL_CONFIG`, or `config.yaml` in `cwd` where that exists.
 *
 * @throws ConfigError with all that is wrong
 */
export function loadConfig(options: SourceOptions): Config {
  const source = readSource(options)
  const checked = checkAt(source, [], settings, source.value)
  if (!checked.ok) throw new ConfigError([...source.problems, ...checked.problems])
  if (source.problems.length > 0) throw new ConfigError(source.problems)

  const { server, data, worker, jobs, retention } = checked.data
  const { file, locate } = source
  const dir = file === null ? resolve(options.cwd) : dirname(file)
  const { path, unused } = data.database.master.source
  return {
    dir,
    file,
    server,
    data: {
      ...data,
      database: { file: resolve(dir, path) },
      artifacts: { ...data.artifacts, dir: resolve(dir, data.artifacts.dir) },
    },
    worker: { ...worker, types: worker.types.map((folder) => resolve(dir, folder)) },
    jobs,
    retention,
    warnings: unused.length === 0 ? [] : [unusedWarning(locate(SOURCE_PATH), unused)],
    locate,
  }
}

const SOURCE_PATH = ['data', 'database', 'master', 'source']

function unusedWarning(where: string, names: string[]): string {
  return `${where}: ${SOURCE_PATH.join('.')}: parameters that have no effect here: ${names.join(', ')}`
}

const KIB = 1_024
const GIB = 1_073_741_824
const SECOND = 1_000
const HOUR = 3_600 * SECOND

/** Defaults are written as people write them in the file, and pass the same checks. */
const settings = section({
  server: section({
    host: host().prefault('127.0.0.1'),
    /** 0 picks a free one. */
    port: whole(0, 65_535).prefault(8080),
    body_limit: bytes({ min: KIB, max: 65_536 * KIB }).prefault('1MiB'),
  }),
  data: section({
    database: section({
      master: section({
        driver: driver().prefault('sqlite3'),
        source: sqliteSource().prefault('file:jobs.db?cache=shared&_fk=1'),
      }),
    }),
    artifacts: section({
      dir: folder().prefault('./data/artifacts'),
      /** Of one job, all together. */
      max_bytes: bytes({ min: 0, max: 1_024 * GIB }).prefault('1GiB'),
    }),
    /** What payloads, results and artifacts of all jobs may take before no artifact is taken any more. */
    max_bytes: bytes({ min: 0, max: 1_048_576 * GIB }).prefault('10GiB'),
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
        types: z.array(folder(), 'must be a list of folders').prefault([]),
        shutdown_grace: duration({ max: HOUR }).prefault(30),
        cancel_grace: duration({ max: HOUR }).prefault(5),
        priority_aging: duration().prefault('1h'),
        poison_after: whole(1, 100).prefault(3),
        poll: duration({ min: 100, max: 60 * SECOND }).prefault('1s'),
        backoff: section(backoffWithDefaults()),
      })
      .refine(({ min_workers, max_workers }) => !(min_workers > max_workers), {
        path: ['min_workers'],
        error: 'must not be above worker.max_workers',
        // Said beside problems of other keys too: then the object may lack keys, or be none.
        when: ({ issues }) => !issues.some(({ path }) => path?.[0] === 'min_workers' || path?.[0] === 'max_workers'),
      }),
  ),
  jobs: orEmpty(z.record(z.string(), orEmpty(z.record(z.string(), z.unknown())))),
  retention: section(retentionWithDefaults()),
})

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

/** A mapping of these keys and no others; with nothing after its colon it counts as left out. */
function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return orEmpty(z.strictObject(shape))
}

function orEmpty<S extends z.ZodType>(schema: S) {
  return z.preprocess((value) => value ?? {}, schema)
}

function whole(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`
  return z.number(error).refine((value) => Number.isInteger(value) && value >= min && value <= max, error)
}

function number(min: number, max: number) {
  const error = `must be a number from ${min} to ${max}`
  return z.number(error).refine((value) => value >= min && value <= max, error)
}

function host() {
  const error = 'must be a host name or an address, without a port'
  return z.string(error).regex(/^[\w.:%-]+$/, error)
}

function folder() {
  const error = 'must be the path of a folder'
  return z.string(error).regex(/\S/, error)
}

function driver() {
  return z.enum(['sqlite3', 'sqlite'], {
    error: ({ input }) =>
      /^(postgres|pg)/.test(String(input)) ? 'postgres is not in this release, use "sqlite3"' : 'must be "sqlite3"',
  })
}

/** A plain path, or a URI as SQLite reads it (sqlite.org/uri.html), which better-sqlite3 does not. */
function sqliteSource() {
  return z.string('must be a path or a "file:" URI').transform((text, ctx) => {
    const parsed = parseSource(text)
    if (typeof parsed !== 'string') return parsed
    ctx.addIssue({ code: 'custom', message: parsed })
    return z.NEVER
  })
}

interface DatabaseFile {
  /** Absolute, or relative to `Config.dir`. */
  path: string
  /** Names of parameters that have no effect. */
  unused: string[]
}

/** The file that a source names, or what is wrong with the source. */
function parseSource(text: string): DatabaseFile | string {
  const [uri, host = '', encoded = '', query = ''] = /^file:(?:\/\/([^/?#]*))?([^?#]*)\??([^#]*)/.exec(text) ?? []
  if (uri === undefined && /^\w+:\/\//.test(text))
    return 'must be a path or a "file:" URI, only SQLite is in this release'
  if (host !== '' && host !== 'localhost') return 'must not name a host: write file:jobs.db or file:///folder/jobs.db'
  const path = uri === undefined ? text : decode(encoded)
  if (path === null || path.includes('\0')) return 'must have valid percent-encoding and no NUL'
  const parameters = [...new URLSearchParams(query)].map(([name, value]) => ({ name, text: `${name}=${value}` }))
  if (path.trim() === '' || path === ':memory:' || parameters.some(({ text }) => text === 'mode=memory'))
    return 'must name a file, what is only in memory does not survive a restart'
  return { path, unused: parameters.filter(({ text }) => !HARMLESS.includes(text)).map(({ name }) => name) }
}

/** They stand in the default: a warning about them would be the first that everybody sees. */
const HARMLESS = ['cache=shared', '_fk=1']

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
