// Reads and checks the settings of jobmill, from all the places that they come from.
import { dirname, resolve } from 'node:path'
import { type ApiKey, BEARER_TOKEN, sha256Of } from './api-key.js'
import { ConfigError, checkAt, readSource, type Source, type SourceOptions } from './config-file.js'
import { type Settings, settings } from './settings.js'

/** Checked settings. Spans are milliseconds, sizes bytes, paths absolute. */
export interface Config extends Omit<Settings, 'data' | 'auth'>, Pick<Source, 'file' | 'locate'> {
  /** The folder that relative paths start at: the config file's, or the working directory where there is none. */
  dir: string
  data: Omit<Settings['data'], 'database'> & { database: { file: string } }
  auth: { keys: ApiKey[] }
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

  const { server, data, worker, jobs, retention, auth } = checked.data
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
    auth: { keys: [...auth.keys, ...environmentKey(options.env)] },
    warnings: unused.length === 0 ? [] : [unusedWarning(locate(SOURCE_PATH), unused)],
    locate,
  }
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
