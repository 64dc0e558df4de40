// Reads and checks the settings of jobmill, from all the places that they come from.
import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { type ApiKey, BEARER_TOKEN, sha256Of } from './api-key.js'
import { ConfigError, checkAt, type Problem, readSource, type Source, type SourceOptions } from './config-file.js'
import type { DatabaseSource } from './setting-kinds.js'
import { type Settings, settings } from './settings.js'

/** Checked settings. Spans are milliseconds, sizes bytes, paths absolute. */
export interface Config extends Omit<Settings, 'data' | 'auth'>, Pick<Source, 'file' | 'locate'> {
  /** The folder that relative paths start at: the config file's, or the working directory where there is none. */
  dir: string
  data: Omit<Settings['data'], 'database' | 'artifacts'> & { database: Database; artifacts: Artifacts }
  auth: { keys: ApiKey[] }
  /** Settings that are accepted and do nothing, a line each. */
  warnings: string[]
}

type Artifacts = Required<Settings['data']['artifacts']>

/** Where the jobs are kept. */
export type Database =
  | { driver: 'sqlite'; file: string }
  /** `source` is a URL, which may hold a password. */
  | { driver: 'postgres'; source: string; schema: string }

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

  const { server, data, worker, limits, jobs, schedules, digests, retention, auth } = checked.data
  const { file, locate } = source
  const dir = file === null ? resolve(options.cwd) : dirname(file)
  const { database, unused } = databaseOf(data.database.master, dir)
  const own = {
    ...(database.driver === 'sqlite' && { database: database.file }),
    artifacts: resolve(dir, data.artifacts.dir),
  }
  const endangered = rootsWithOwnFiles(jobs.cleanup?.roots, dir, own, locate)
  const problems = [...endangered, ...withoutDatabase(data.artifacts.store, database, locate)]
  if (problems.length > 0) throw new ConfigError(problems)
  const { store = defaultStore(database), max_bytes } = data.artifacts
  const artifacts = { store, dir: own.artifacts, max_bytes }
  return {
    dir,
    file,
    server,
    data: { ...data, database, artifacts },
    worker: { ...worker, types: worker.types.map((folder) => resolve(dir, folder)) },
    limits,
    jobs,
    schedules,
    digests,
    retention,
    auth: { keys: [...auth.keys, ...environmentKey(options.env)] },
    warnings: unused.length === 0 ? [] : [unusedWarning(locate(SOURCE_PATH), unused)],
    locate,
  }
}

function databaseOf(source: DatabaseSource, dir: string): { database: Database; unused: string[] } {
  if (source.driver === 'postgres') return { database: source, unused: [] }
  return { database: { driver: 'sqlite', file: resolve(dir, source.path) }, unused: source.unused }
}

const defaultStore = ({ driver }: Database): Artifacts['store'] => (driver === 'postgres' ? 'database' : 'folder')

/** Other nodes are what artifacts are in the database for; on one, files are better. */
function withoutDatabase(
  store: Artifacts['store'] | undefined,
  { driver }: Database,
  locate: Source['locate'],
): Problem[] {
  if (store !== 'database' || driver === 'postgres') return []
  const message = 'must be "folder" with SQLite: "database" needs data.database.master.driver "postgres"'
  return [{ key: 'data.artifacts.store', where: locate(['data', 'artifacts', 'store']), message }]
}

/** A cleanup must not reach jobmill's own files: that they are old does not mean that they are not needed. */
function rootsWithOwnFiles(
  roots: unknown,
  dir: string,
  own: Record<string, string>,
  locate: Source['locate'],
): Problem[] {
  if (!Array.isArray(roots)) return []
  return roots.flatMap((root, i) => {
    const [name] =
      Object.entries(own).find(([, path]) => typeof root === 'string' && overlap(resolve(dir, root), path)) ?? []
    if (name === undefined) return []
    const key = `jobs.cleanup.roots.${i}`
    const message = `must not hold jobmill's own ${name}, which a cleanup would delete`
    return [{ key, where: locate(['jobs', 'cleanup', 'roots', i]), message }]
  })
}

/** Whether one is the other or lies in it, by real paths as far as they exist. */
function overlap(root: string, path: string): boolean {
  const [a, b] = [realPath(root) + sep, realPath(path) + sep]
  return a.startsWith(b) || b.startsWith(a)
}

function realPath(path: string): string {
  const parent = dirname(path)
  if (existsSync(path)) return realpathSync(path)
  return parent === path ? path : join(realPath(parent), basename(path))
}

const MIN_KEY_LENGTH = 16

/** @throws ConfigError, which never shows the key */
function environmentKey({ JOBMILL_API_KEY: key = '' }: NodeJS.ProcessEnv): ApiKey[] {
  if (key === '') return []
  const name = 'JOBMILL_API_KEY'
  if (key.length >= MIN_KEY_LENGTH && BEARER_TOKEN.test(key))
    return [{ name, sha256: sha256Of(key), scopes: ['admin'] }]
  const message = `must have at least ${MIN_KEY_LENGTH} characters, of letters, digits and -._~+/`
  throw new ConfigError([{ key: '', where: name, message }])
}

const SOURCE_PATH = ['data', 'database', 'master', 'source']

function unusedWarning(where: string, names: string[]): string {
  return `${where}: ${SOURCE_PATH.join('.')}: parameters that have no effect here: ${names.join(', ')}`
}
