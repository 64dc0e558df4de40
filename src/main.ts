#!/usr/bin/env node
// The process edge: arguments, configuration, signals, exit code.
import { closeSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { newKey, sha256Of } from './api-key.js'
import { VERSION } from './build.js'
import { type Config, loadConfig } from './config.js'
import { ConfigError } from './config-file.js'
import { loadJobTypes } from './job-types.js'
import { createLogger, standardOutput } from './log.js'
import { checkSchedules } from './schedules/configured.js'
import { createService, refuseOpenDoor, type Service } from './service.js'
import { sqliteSource } from './setting-kinds.js'
import { StoreOpenError } from './store/open-error.js'
import { typeAtFault } from './type-files.js'

const USAGE = `jobmill [serve] [options]
jobmill key [--name NAME]    make an API key, and the lines for auth.keys
jobmill migrate --from FILE [--artifacts DIR]
                             bring all of a SQLite file to the PostgreSQL database of the settings, and compare it there
jobmill torture [--driver sqlite3|postgres] [--only N,N] [--soak SECONDS] [--quick] [--report FILE]
                             kill, starve and mistreat servers of this build, check them, and print what was seen;
                             postgres: several nodes on a PostgreSQL of their own;
                             --quick: a fifth of the rounds

  --config FILE    settings (default: config.yaml here, if there is one)
  --host H         address to listen on, instead of server.host
  --port N         port to listen on, instead of server.port; 0 picks a free one
  --check-config   check settings and job types, then exit
  --version, --help (-h)`

/** A terminal's Ctrl-C reaches jobmill twice when npm passes it on: the second so soon is the same wish. */
const SAME_SIGNAL_MS = 500
/** What the last line of the log may take, where nobody reads it. */
const LAST_LINE_MS = 1_000

async function main(): Promise<void> {
  const { values, positionals } = readArguments()
  if (values.help) return print(USAGE)
  if (values.version) return print(VERSION)
  if (positionals.join() === 'key') return print(keyLines(values.name ?? 'default'))
  if (positionals.join() === 'migrate') return runMigrate(values)
  if (positionals.join() === 'torture') return runTorture(values)
  if (positionals.some((word) => word !== 'serve')) throw new UsageError(`unknown command: ${positionals.join(' ')}`)
  const { config: file, host, port } = values
  const config = loadConfig({ file, env: process.env, cwd: process.cwd(), overrides: { host, port } })
  if (values['check-config']) return print(await checked(config))

  const stopping = stopOnSignal()
  const service = await createService(config, { log, onStoreFailure: stopping.recover })
  stopping.begin(service)
  const url = await service.start()
  log.info(
    { version: VERSION, pid: process.pid, config: config.file, ...whereJobsAre(config) },
    `jobmill listens on ${url}`,
  )
  stopping.started()
}

/** Nothing of the URL but its server and its database: it may hold a password. */
function whereJobsAre({ data: { database } }: Config) {
  if (database.driver === 'sqlite') return { database: database.file }
  const { host, pathname } = new URL(database.source)
  return { database: `postgres://${host}${pathname}`, schema: database.schema }
}

const output = standardOutput()
const log = createLogger(output)

/** Of the rounds of `jobmill torture`, with --quick. */
const QUICK_SHARE = 0.2

class UsageError extends Error {}

function readArguments() {
  const options = {
    config: { type: 'string' },
    host: { type: 'string' },
    port: { type: 'string' },
    'check-config': { type: 'boolean' },
    name: { type: 'string' },
    from: { type: 'string' },
    artifacts: { type: 'string' },
    driver: { type: 'string' },
    only: { type: 'string' },
    soak: { type: 'string' },
    quick: { type: 'boolean' },
    report: { type: 'string' },
    version: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  } as const
  try {
    return parseArgs({ options, allowPositionals: true })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

async function checked(config: Config): Promise<string> {
  refuseOpenDoor(config)
  const { types, warnings } = await loadJobTypes(config)
  checkSchedules(config, { types, max_payload: config.limits.payload }, Date.now())
  const lines = [...types.values()].map(({ name, disabled }) => `type ${name}: ${disabled ?? 'ok'}`)
  return [`${config.file ?? 'the default configuration'} is valid`, ...lines, ...config.warnings, ...warnings].join(
    '\n',
  )
}

/** Killed and run again, it goes on where it was. */
async function runMigrate({
  config: file,
  from,
  artifacts,
}: ReturnType<typeof readArguments>['values']): Promise<void> {
  const { data } = loadConfig({ file, env: process.env, cwd: process.cwd() })
  const { database } = data
  if (database.driver !== 'postgres')
    throw new UsageError('migrate needs the PostgreSQL database in data.database.master, with driver: postgres')
  if (from === undefined) throw new UsageError('migrate needs --from, the SQLite file, such as --from jobs.db')
  const parsed = sqliteSource(from)
  if (typeof parsed === 'string') throw new UsageError(`--from ${parsed}`)
  const { migrate } = await import('./migrate/migrate.js')
  const { dir, store } = data.artifacts
  const files = { from: resolve(artifacts ?? dir), to: store === 'database' ? null : dir }
  await migrate({ ...database, from: resolve(parsed.path), artifacts: files, tell: print })
}

/** Exits with 1 where a promise did not hold. */
async function runTorture({
  driver = 'sqlite3',
  only,
  soak = process.env.SOAK_SECONDS ?? '0',
  quick = false,
  report,
}: ReturnType<typeof readArguments>['values']) {
  const numbers = only?.split(',').map(Number) ?? null
  const { FAULTS, holds, torture } = await import('./torture/torture.js')
  if (driver !== 'sqlite3' && driver !== 'postgres') throw new UsageError('--driver must be sqlite3 or postgres')
  const { length } = FAULTS[driver]
  if (numbers?.some((number) => !FAULTS[driver].some((fault) => fault.number === number)))
    throw new UsageError(`--only takes numbers from 1 to ${length}, such as --only 1,${length}`)
  const soak_s = Number(soak)
  if (!(soak_s >= 0)) throw new UsageError('--soak takes a number of seconds')
  if (report !== undefined) refuseUnwritable(report)
  const rows = await torture({
    main: fileURLToPath(import.meta.url),
    driver,
    soak_s,
    share: quick ? QUICK_SHARE : 1,
    only: numbers,
    tell: print,
  })
  if (report !== undefined) {
    const { writeReport } = await import('./torture/report.js')
    writeReport(report, { driver, rows, version: VERSION, today: new Date().toISOString().slice(0, 10) })
  }
  process.exitCode = rows.every(holds) ? 0 : 1
}

/** Better before than after minutes of work. */
function refuseUnwritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'))
  } catch (error) {
    throw new UsageError(`--report: ${error instanceof Error ? error.message : error}`)
  }
}

/** A signal while the service starts is kept until it has: half a start cannot be stopped cleanly. */
function stopOnSignal() {
  let first_at: number | null = null
  let service: Service | null = null
  let ready = false
  let exit_code = 0
  const begin = () => {
    if (ready && service !== null) void stop(service, () => exit_code)
  }
  const onSignal = (signal: NodeJS.Signals) => {
    if (first_at === null) {
      first_at = performance.now()
      log.info({ signal }, 'stopping: no new jobs, running ones may end')
      begin()
    } else if (signal !== 'SIGINT' || performance.now() - first_at > SAME_SIGNAL_MS) {
      log.info({ signal }, 'stopping at once: running jobs are released')
      service?.hurry()
    }
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return {
    begin(starting: Service): void {
      service = starting
    },
    started(): void {
      ready = true
      if (first_at !== null) begin()
    },
    /** Whoever keeps the process running starts it again, from what is on disk. */
    recover(why: string): void {
      exit_code = 1
      log.fatal({ error: why }, 'stopping, to recover from what is on disk')
      if (first_at === null) begin()
      first_at ??= performance.now()
      service?.hurry()
    },
  }
}

async function stop(service: Service, exitCode: () => number): Promise<void> {
  try {
    const { released, running } = await service.stop()
    if (running.length === 0) {
      log.info({ released }, 'stopped')
      exit(exitCode())
    } else {
      // process.exit would wait for their threads. The line is written behind the event loop's back: it goes out first.
      const kill = () => process.kill(process.pid, 'SIGKILL')
      output.once('drain', kill)
      setTimeout(kill, LAST_LINE_MS)
      log.warn(
        { released, jobs: running },
        'stopped while jobs are inside native calls: they run again at the next start',
      )
    }
  } catch (error) {
    fail(error)
  }
}

/** What a person can mend is said in a sentence; anything else is a defect and shows its stack. */
function fail(error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : null
  const known = error instanceof ConfigError || error instanceof StoreOpenError || error instanceof UsageError
  if (code === 'EADDRINUSE')
    process.stderr.write('jobmill: the port is in use; choose another with --port or server.port\n')
  else if (known) process.stderr.write(`${error.message}\n`)
  else process.stderr.write(`jobmill: ${error instanceof Error ? error.stack : error}\n`)
  exit(1)
}

/** Log lines are written behind the event loop's back: the last ones go out first. */
function exit(code: number): void {
  output.flushSync()
  process.exit(code)
}

/** What a type's file started in this thread while it was loaded must not end the service; anything else does. */
function onStrayError(error: unknown): void {
  const type = typeAtFault()
  if (type === null) fail(error)
  else log.error({ type, error: error instanceof Error ? error.message : String(error) }, 'stray error of a type file')
}

function keyLines(name: string): string {
  const key = newKey()
  return `The key, shown only now:

  ${key}

Its lines in config.yaml:

auth:
  keys:
    - name: ${name}
      sha256: ${sha256Of(key)}
      scopes: [jobs:read, jobs:write]      # or admin, which may also change the workers`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

process.on('uncaughtException', onStrayError)
process.on('unhandledRejection', onStrayError)
main().catch(fail)
