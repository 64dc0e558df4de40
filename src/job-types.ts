// Finds the files of job types, loads each after a trial in a throwaway thread, and joins it with its configuration.
import { existsSync, readdirSync } from 'node:fs'
import { join, parse } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { z } from 'zod'
import type { BackoffPolicy } from './backoff.js'
import { BUILD } from './build.js'
import { backoffKeys, type Config, jobTimeout } from './config.js'
import { ConfigError, checkAt, type Problem } from './config-file.js'
import type { JobDefinition } from './define-job.js'
import { type Finding, inspect, unknownKey } from './explain.js'

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
}

export type JobTypes = ReadonlyMap<string, JobType>

/** Longest time that a type's file may take to load. */
const LOAD_LIMIT_MS = 5_000
const BUILT_IN = fileURLToPath(new URL('workers/', BUILD))
const NAME = /^[A-Za-z][\w-]{0,63}$/
const EXTENSIONS = ['.js', '.mjs', '.ts']

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
  const loaded = await Promise.all(files.map(async (file) => ({ ...file, definition: await load(file) })))
  for (const { name, url, definition } of loaded) {
    const first = types.get(name)
    if (first !== undefined)
      warnings.push(`${fileURLToPath(url)} is left out: ${fileURLToPath(first.url)} has the same name`)
    else types.set(name, toType(config, name, url, definition, problems))
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return {
    types,
    warnings: [...warnings, ...Object.keys(config.jobs).flatMap((name) => idleSettings(config, types, name))],
  }
}

function idleSettings(config: Config, types: JobTypes, name: string): string[] {
  const type = types.get(name)
  if (type !== undefined && type.disabled === null) return []
  const why = type === undefined ? 'there is no such job type' : `the job type is disabled (${type.disabled})`
  return [`${config.locate(['jobs', name])}: jobs.${name}: has no effect: ${why}`]
}

interface TypeFile {
  name: string
  url: string
}

function configured(config: Config, folder: string, i: number): TypeFile[] {
  try {
    return findTypes(folder)
  } catch {
    const where = config.locate(['worker', 'types', i])
    throw new ConfigError([{ key: `worker.types.${i}`, where, message: 'must be a folder that can be read' }])
  }
}

/** `<type>.js`, or `<type>/index.js` where a type needs parts; likewise .mjs and .ts. */
function findTypes(folder: string): TypeFile[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const { name, ext } = parse(entry.name)
      const ours = EXTENSIONS.includes(ext) && !entry.name.endsWith('.d.ts')
      const file = entry.isDirectory() ? indexOf(join(folder, entry.name)) : ours ? entry.name : null
      const type = entry.isDirectory() ? entry.name : name
      return file === null ? [] : [{ name: type, url: pathToFileURL(join(folder, file)).href }]
    })
}

function indexOf(folder: string): string | null {
  const index = EXTENSIONS.map((ext) => `index${ext}`).find((name) => existsSync(join(folder, name)))
  return index === undefined ? null : join(parse(folder).base, index)
}

/** The file's default export, or why it cannot be used. */
async function load({ name, url }: TypeFile): Promise<JobDefinition | string> {
  if (!NAME.test(name)) return 'its name must be letters, digits, "_" and "-", beginning with a letter'
  try {
    const failure = await tryInThread(url)
    if (failure !== null) return failure
    const { default: definition } = await import(url)
    return typeof definition?.run === 'function' ? definition : 'its default export has no function run(payload, ctx)'
  } catch (error) {
    return `cannot be loaded: ${explainLoad(error)}`
  }
}

async function tryInThread(url: string): Promise<string | null> {
  const thread = new Worker(new URL('src/type-probe.js', BUILD), { workerData: { url } })
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve) => {
      const hung = `did not finish loading within ${LOAD_LIMIT_MS / 1_000} s`
      // Threads of all types start together and share the cores: the clock starts when this one runs.
      thread.once('online', () => {
        timer = setTimeout(() => resolve(hung), LOAD_LIMIT_MS)
      })
      thread.once('message', () => resolve(null))
      thread.once('error', (error) => resolve(`cannot be loaded: ${explainLoad(error)}`))
      thread.once('exit', (code) => resolve(`ended its thread while loading (exit code ${code})`))
    })
  } finally {
    clearTimeout(timer)
    await thread.terminate()
  }
}

function explainLoad(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const unreadable = 'code' in error && error.code === 'ERR_UNKNOWN_FILE_EXTENSION'
  return unreadable ? `Node ${process.version} does not read this kind of file; use .js or .mjs` : error.message
}

/** Settings of a type: those that every type has, and its own. config.yaml wins over the file. */
function toType(
  config: Config,
  name: string,
  url: string,
  definition: JobDefinition | string,
  problems: Problem[],
): JobType {
  if (typeof definition === 'string') return disabledType(config, name, url, definition)
  const { enabled, timeout, retry_count, backoff, ...own } = Object.hasOwn(config.jobs, name)
    ? (config.jobs[name] ?? {})
    : {}
  const limits = inspect(LIMITS, definition)
  if (!limits.ok) return disabledType(config, name, url, describe(limits.findings))
  const settings = checkAt(config, ['jobs', name], SETTINGS, { enabled, timeout, retry_count, backoff })
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
  return {
    name,
    url,
    description: definition.description ?? '',
    disabled: null,
    payload: payloadSchema(definition, keys.data),
    config: keys.data,
    timeout_ms: settings.data.timeout ?? limits.data.timeout ?? config.worker.job_timeout,
    retry_count: settings.data.retry_count ?? limits.data.retry_count ?? 3,
    backoff: { ...config.worker.backoff, ...limits.data.backoff, ...settings.data.backoff },
  }
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
})
const SETTINGS = LIMITS.extend({ enabled: z.boolean().default(true) })

function payloadSchema({ payload }: JobDefinition, config: unknown): z.ZodType | null {
  return (typeof payload === 'function' ? payload(config) : payload) ?? null
}

function describe(findings: Finding[]): string {
  return findings.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ')
}

function disabledType(config: Config, name: string, url: string, disabled: string): JobType {
  const { job_timeout, backoff } = config.worker
  const limits = { timeout_ms: job_timeout, retry_count: 0, backoff }
  return { name, url, description: '', disabled, payload: null, config: null, ...limits }
}
