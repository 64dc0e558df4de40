// Job types as the service uses them: what each file defines, joined with its settings in config.yaml.
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { BackoffPolicy } from './backoff.js'
import { BUILD } from './build.js'
import type { Config } from './config.js'
import { ConfigError, checkAt, type Problem } from './config-file.js'
import type { JobDefinition } from './define-job.js'
import { type Finding, inspect, unknownKey } from './explain.js'
import { rate, whole } from './setting-kinds.js'
import { backoffKeys, jobTimeout, type Retention, retentionKeys, workers } from './settings.js'
import type { Rate } from './slot-shares.js'
import { findTypes, loadTypes, type TypeFile } from './type-files.js'

export interface JobType {
  name: string
  description: string
  /** Why it takes no jobs, or null while it does. */
  disabled: string | null
  url: string
  /** Schema of the payload; null takes any JSON. */
  payload: z.ZodType | null
  /** Its own keys under `jobs.<name>`, as its schema gave them back. */
  config: unknown
  timeout_ms: number
  retry_count: number
  backoff: BackoffPolicy
  /** Jobs of it that may run at once; null: as many as there are slots. */
  concurrency: number | null
  /** Slots that no other type may take. */
  reserved: number
  /** Starts in a span of time, over all nodes; null: as many as there are slots for. */
  rate: Rate | null
  /** Pending jobs of it that submissions may lead to; null: as many as `worker.queue_size`. */
  queue_size: number | null
  /** How long its final jobs are kept, where it differs from `retention`. */
  retention: Partial<Retention>
}

export type JobTypes = ReadonlyMap<string, JobType>

const BUILT_IN = fileURLToPath(new URL('workers/', BUILD))

/**
 * The types of workers/ and of the folders in `worker.types`, by name. A file that cannot be loaded disables only its
 * type. Settings that concern no loaded type are added to `warnings`.
 *
 * @throws ConfigError where a key under `jobs.<type>` is wrong or a folder cannot be read
 */
export async function loadJobTypes(config: Config): Promise<{ types: JobTypes; warnings: string[] }> {
  const files = [...findTypes(BUILT_IN), ...config.worker.types.flatMap((folder, i) => configured(config, folder, i))]
  const types = new Map<string, JobType>()
  const problems: Problem[] = []
  const warnings: string[] = []
  for (const { name, url, definition } of await loadTypes(files)) {
    const first = types.get(name)
    if (first !== undefined)
      warnings.push(`${fileURLToPath(url)} is left out: ${fileURLToPath(first.url)} has the same name`)
    else types.set(name, toType(config, name, url, definition, problems))
  }
  problems.push(...tooManyReserved(config, types), ...unknownOnly(config, types))
  if (problems.length > 0) throw new ConfigError(problems)
  return {
    types,
    warnings: [...warnings, ...Object.keys(config.jobs).flatMap((name) => idleSettings(config, types, name))],
  }
}

/** One slot always stays for all types: jobs of a type that reserves nothing must get to run. */
function tooManyReserved(config: Config, types: JobTypes): Problem[] {
  const reserving = [...types.values()].filter(({ reserved }) => reserved > 0)
  const sum = reserving.reduce((sum, { reserved }) => sum + reserved, 0)
  const { max_workers } = config.worker
  const last = reserving.at(-1)
  if (last === undefined || sum < max_workers) return []
  const message = `must leave one of worker.max_workers (${max_workers}) to all types, ${sum} are reserved in all`
  const where = config.locate(['jobs', last.name, 'reserved'])
  return [{ key: `jobs.${last.name}.reserved`, where, message }]
}

function unknownOnly({ worker, locate }: Config, types: JobTypes): Problem[] {
  return (worker.only ?? []).flatMap((name, i) => {
    if (types.has(name)) return []
    const message = `must be one of ${[...types.keys()].join(', ')}, is ${JSON.stringify(name)}`
    return [{ key: `worker.only.${i}`, where: locate(['worker', 'only', i]), message }]
  })
}

function idleSettings(config: Config, types: JobTypes, name: string): string[] {
  const type = types.get(name)
  if (type !== undefined && type.disabled === null) return []
  const why = type === undefined ? 'there is no such job type' : `the job type is disabled (${type.disabled})`
  return [`${config.locate(['jobs', name])}: jobs.${name}: has no effect: ${why}`]
}

function configured(config: Config, folder: string, i: number): TypeFile[] {
  try {
    return findTypes(folder)
  } catch {
    const where = config.locate(['worker', 'types', i])
    throw new ConfigError([{ key: `worker.types.${i}`, where, message: 'must be a folder that can be read' }])
  }
}

/** A definition is somebody's code: whatever it does when it is looked at disables its type and no other. */
function toType(
  config: Config,
  name: string,
  url: string,
  definition: JobDefinition | string,
  problems: Problem[],
): JobType {
  if (typeof definition === 'string') return disabledType(config, name, url, definition)
  try {
    return configuredType(config, name, url, definition, problems)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return disabledType(config, name, url, `its definition cannot be used: ${why}`)
  }
}

/** Settings of a type: those that every type has, and its own. config.yaml wins over the file. */
function configuredType(
  config: Config,
  name: string,
  url: string,
  definition: JobDefinition,
  problems: Problem[],
): JobType {
  const { common, own } = split(Object.hasOwn(config.jobs, name) ? (config.jobs[name] ?? {}) : {})
  const limits = inspect(LIMITS, definition)
  if (!limits.ok) return disabledType(config, name, url, describe(limits.findings))
  if (definition.config !== undefined && !isSchema(definition.config))
    return disabledType(config, name, url, 'config must be a zod schema')
  const settings = checkAt(config, ['jobs', name], SETTINGS, common)
  if (settings.ok && !settings.data.enabled) return disabledType(config, name, url, `jobs.${name}.enabled is false`)
  const unknown = unknownKeys(config, name, definition.config, own)
  if (unknown.length > 0) {
    problems.push(...unknown)
    return disabledType(config, name, url, 'its settings are wrong')
  }
  const keys = checkAt(config, ['jobs', name], definition.config ?? z.strictObject({}), own)
  if (!settings.ok || !keys.ok) {
    for (const result of [settings, keys]) if (!result.ok) problems.push(...result.problems)
    return disabledType(config, name, url, 'its settings are wrong')
  }
  const payload = payloadSchema(definition, keys.data)
  if (payload !== null && !isSchema(payload))
    return disabledType(config, name, url, 'payload must be a zod schema, or a function that returns one')
  return {
    name,
    url,
    description: String(definition.description ?? ''),
    disabled: null,
    payload,
    config: keys.data,
    timeout_ms: settings.data.timeout ?? limits.data.timeout ?? config.worker.job_timeout,
    retry_count: settings.data.retry_count ?? limits.data.retry_count ?? 3,
    backoff: { ...config.worker.backoff, ...limits.data.backoff, ...settings.data.backoff },
    concurrency: settings.data.concurrency ?? limits.data.concurrency ?? null,
    reserved: settings.data.reserved,
    rate: settings.data.rate ?? null,
    queue_size: settings.data.queue_size ?? null,
    retention: settings.data.retention,
  }
}

/** The keys that every type has, and those of this one. */
function split(settings: Record<string, unknown>) {
  const entries = Object.entries(settings)
  const isCommon = ([key]: [string, unknown]) => key in SETTINGS.shape
  return {
    common: Object.fromEntries(entries.filter(isCommon)),
    own: Object.fromEntries(entries.filter((entry) => !isCommon(entry))),
  }
}

/** A type may bring its own copy of zod. */
function isSchema(value: unknown): value is z.ZodType {
  return typeof value === 'object' && value !== null && 'safeParse' in value && typeof value.safeParse === 'function'
}

/** Keys that neither every type has nor this one. A schema that is no plain object judges its keys itself. */
function unknownKeys(config: Config, name: string, schema: z.ZodType | undefined, own: object): Problem[] {
  const shape = schema === undefined ? {} : schema instanceof z.ZodObject ? schema.shape : null
  if (shape === null) return []
  const known = [...Object.keys(SETTINGS.shape), ...Object.keys(shape)]
  return Object.keys(own)
    .filter((key) => !known.includes(key))
    .map((key) => ({
      key: `jobs.${name}.${key}`,
      where: config.locate(['jobs', name, key]),
      message: unknownKey(key, known),
    }))
}

const LIMITS = z.object({
  timeout: jobTimeout().optional(),
  retry_count: z.int().min(0).max(100).optional(),
  backoff: z.strictObject(backoffKeys()).partial().optional(),
  concurrency: workers().optional(),
})
const SETTINGS = LIMITS.extend({
  enabled: z.boolean().default(true),
  reserved: workers(0).default(0),
  rate: rate().optional(),
  queue_size: whole(1, 100_000_000).optional(),
  retention: z.strictObject(retentionKeys()).partial().default({}),
})

function payloadSchema({ payload }: JobDefinition, config: unknown): unknown {
  return (typeof payload === 'function' ? payload(config) : payload) ?? null
}

function describe(findings: Finding[]): string {
  return findings.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ')
}

function disabledType(config: Config, name: string, url: string, disabled: string): JobType {
  const { job_timeout, backoff } = config.worker
  const limits = { timeout_ms: job_timeout, retry_count: 0, backoff, retention: {} }
  const bounds = { concurrency: null, reserved: 0, rate: null, queue_size: null }
  return { name, url, description: '', disabled, payload: null, config: null, ...limits, ...bounds }
}
