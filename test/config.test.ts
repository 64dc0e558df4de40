import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { z } from 'zod'
import { loadConfig } from '../src/config.js'
import { ConfigError, checkAt, type SourceOptions } from '../src/config-file.js'
import { nearest } from '../src/explain.js'
import { loadJobTypes } from '../src/job-types.js'
import { checkSchedules } from '../src/schedules/configured.js'

/** The block of the design that has to work as it is. */
const BLOCK = `data:
  database:
    master:
      driver: sqlite3            # or postgres
      source: "file:jobs.db?cache=shared&_fk=1"   # or postgres://…
worker:
  max_workers: 10
  queue_size: 100
  job_timeout: 300               # seconds; "5m" too
jobs:
  email:
    retry_count: 3
    timeout: 60
  export:
    retry_count: 1
    timeout: 600
`

const root = mkdtempSync(join(tmpdir(), 'jobmill-config-'))
let cwd = ''
beforeEach(() => {
  cwd = mkdtempSync(join(root, 'cwd-'))
})
afterAll(() => rmSync(root, { recursive: true }))

function load(yaml: string | null, options: Partial<SourceOptions> = {}) {
  if (yaml !== null) writeFileSync(join(cwd, 'config.yaml'), yaml)
  return loadConfig({ env: {}, cwd, ...options })
}

/** The lines of the error that `load` throws with these arguments. */
function problems(...args: Parameters<typeof load>): string[] {
  try {
    load(...args)
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n')
    throw error
  }
  return []
}

describe('defaults', () => {
  const DEFAULTS = {
    server: {
      host: '127.0.0.1',
      port: 8080,
      body_limit: 1_048_576,
      header_timeout: 10_000,
      body_timeout: 30_000,
      idle_timeout: 65_000,
      max_connections: 2_000,
      cors_origins: [],
    },
    worker: {
      max_workers: 10,
      min_workers: 1,
      queue_size: 100,
      job_timeout: 300_000,
      resource_limits: { max_old_generation_mb: 512 },
      recycle: { jobs: 10_000, heap: 268_435_456 },
      types: [],
      shutdown_grace: 30_000,
      cancel_grace: 5_000,
      priority_aging: 3_600_000,
      poison_after: 3,
      poll: 1_000,
      lease: 15_000,
      only: null,
      backoff: { base: 1_000, factor: 2, max: 300_000, jitter: 0.1 },
    },
    limits: {
      payload: 1_048_576,
      result: 1_048_576,
      error: 16_384,
      log_lines: 1_000,
      log_line: 4_096,
      checkpoint: 65_536,
    },
    jobs: {},
    schedules: {},
    digests: {},
    retention: {
      completed: { max_age: 7 * 86_400_000 },
      failed: { max_age: 30 * 86_400_000 },
      cancelled: { max_age: 7 * 86_400_000 },
    },
    auth: { keys: [] },
    warnings: [],
  }

  it('stand for everything where there is no file', () => {
    const { locate, ...config } = load(null)
    const data = {
      database: { driver: 'sqlite', file: join(cwd, 'jobs.db') },
      artifacts: { store: 'folder', dir: join(cwd, 'data/artifacts'), max_bytes: 1_073_741_824 },
      max_bytes: 10_737_418_240,
      ballast: 8_388_608,
      min_free: 33_554_432,
      idempotency_window: 86_400_000,
      max_stored: 1_000_000,
    }
    expect(config).toEqual({ ...DEFAULTS, data, dir: cwd, file: null })
    expect(locate(['worker', 'max_workers'])).toBe('config.yaml')
  })

  it.each([
    ['an empty file', ''],
    ['a file of comments', '# nothing\n'],
    ['sections with nothing after the colon', 'server:\ndata:\n  database:\nworker:\n  backoff:\njobs:\n'],
  ])('stand for everything in %s', (_, yaml) => {
    expect(load(yaml)).toMatchObject({ ...DEFAULTS, file: join(cwd, 'config.yaml') })
  })

  it('stand for the settings of a type that has nothing after its colon', () => {
    expect(load('jobs:\n  email:\n').jobs).toEqual({ email: {} })
  })
})

describe('the block of the design', () => {
  it('loads, without a warning', () => {
    const { locate, ...config } = load(BLOCK)
    expect(config).toMatchObject({
      data: { database: { driver: 'sqlite', file: join(cwd, 'jobs.db') } },
      worker: { max_workers: 10, queue_size: 100, job_timeout: 300_000 },
      jobs: { email: { retry_count: 3, timeout: 60 }, export: { retry_count: 1, timeout: 600 } },
      warnings: [],
    })
    expect(locate(['jobs', 'export', 'timeout'])).toBe('config.yaml:16')
  })

  it('is followed by an example that works when its lines are no comments', async () => {
    const text = readFileSync(new URL('../config.yaml', import.meta.url), 'utf8')
    const [before, example = ''] = text.split(/^# A cleanup.*\n/m)
    const config = load(before + example.replaceAll(/^# /gm, ''))
    const { types } = await loadJobTypes(config)
    checkSchedules(config, { types, max_payload: 1_000 }, 0)
    expect(config.schedules).toMatchObject({ 'old-files': { cron: '0 * * * *' } })
    expect(config.jobs.cleanup).toEqual({ roots: ['./data/outbox'] })
    const wrong = load(before + example.replaceAll(/^# /gm, '').replace('0 * * * *', '0 0 30 2 *'))
    expect(() => checkSchedules(wrong, { types, max_payload: 1_000 }, 0)).toThrow(
      /config.yaml:\d+: schedules.old-files.cron: must fit some day/,
    )
  })

  it('stands in the config.yaml of the repository, which sets nothing else', () => {
    const shipped = readFileSync(new URL('../config.yaml', import.meta.url), 'utf8')
    expect(shipped).toContain(BLOCK)
    expect({ ...load(shipped), locate: null }).toEqual({ ...load(BLOCK), locate: null })
  })
})

describe('values', () => {
  it('may be spans and sizes in any unit', () => {
    const { server, worker } = load(
      'server: {body_limit: 64KiB}\nworker: {job_timeout: 5m, shutdown_grace: 0, poll: 100ms, backoff: {base: 2s}}',
    )
    expect(server.body_limit).toBe(65_536)
    expect(worker).toMatchObject({
      job_timeout: 300_000,
      shutdown_grace: 0,
      poll: 100,
      backoff: { base: 2_000, factor: 2 },
    })
  })

  it.each([
    ['1024', 1_024],
    ['1024B', 1_024],
    ['2kB', 2_000],
    ['2KB', 2_000],
    ['2KiB', 2_048],
    ['1MB', 1_000_000],
    ['64MiB', 67_108_864],
  ])('take the size %s', (text, bytes) => {
    expect(load(`server: {body_limit: ${text}}`).server.body_limit).toBe(bytes)
  })

  it.each([
    ['worker: {max_workers: 1}', 'worker: {max_workers: 512}'],
    ['server: {port: 0}', 'server: {port: 65535}'],
    ['server: {body_limit: 1KiB}', 'server: {body_limit: 64MiB}'],
    ['server: {header_timeout: 100ms}', 'server: {header_timeout: 1h}'],
    ['server: {body_timeout: 100ms}', 'server: {body_timeout: 1h}'],
    ['server: {idle_timeout: 1s}', 'server: {idle_timeout: 1h}'],
    ['server: {max_connections: 1}', 'server: {max_connections: 100000}'],
    ['worker: {job_timeout: 0.1}', 'worker: {job_timeout: 24d}'],
    ['worker: {cancel_grace: 0}', 'worker: {cancel_grace: 1h}'],
    ['worker: {poll: 100ms}', 'worker: {poll: 1m}'],
    ['worker: {backoff: {factor: 1, jitter: 0}}', 'worker: {backoff: {factor: 10, jitter: 1}}'],
    ['worker: {poison_after: 1}', 'worker: {poison_after: 100}'],
    ['worker: {queue_size: 1}', 'worker: {queue_size: 100000000}'],
    ['worker: {min_workers: 10}', 'worker: {min_workers: 512, max_workers: 512}'],
  ])('include both ends of the range: %s … %s', (low, high) => {
    expect(problems(low)).toEqual([])
    expect(problems(high)).toEqual([])
  })

  it('of job types are passed on as they are', () => {
    const yaml = 'jobs:\n  report:\n    anything: [1, {deep: true}]\n    2: x\n'
    expect(load(yaml).jobs).toEqual({ report: { anything: [1, { deep: true }], '2': 'x' } })
  })

  it('that are shared by an alias are changed by a variable in one place only', () => {
    const yaml = 'jobs:\n  a: &shared {timeout: 1}\n  b: *shared\n'
    expect(load(yaml, { env: { JOBMILL_JOBS__A__TIMEOUT: '2' } }).jobs).toEqual({
      a: { timeout: 2 },
      b: { timeout: 1 },
    })
  })
})

describe('a bad file is refused', () => {
  const SPAN = 'must be a number of seconds, or a text such as "500ms", "90s", "10m", "2h", "30d"'
  const SIZE = 'must be a whole number of bytes, or a text such as "512KiB", "1MiB", "1MB"'
  const HOST = 'must be a host name or an address, without a port'

  it.each([
    // whole numbers
    ['worker:\n  max_workers: 0', '2: worker.max_workers: must be a whole number from 1 to 512, is 0'],
    ['worker:\n  max_workers: 513', '2: worker.max_workers: must be a whole number from 1 to 512, is 513'],
    ['worker:\n  max_workers: 1.5', '2: worker.max_workers: must be a whole number from 1 to 512, is 1.5'],
    ['worker:\n  max_workers: "4"', '2: worker.max_workers: must be a whole number from 1 to 512, is "4"'],
    ['worker:\n  max_workers: .nan', '2: worker.max_workers: must be a whole number from 1 to 512, is NaN'],
    ['worker:\n  max_workers: true', '2: worker.max_workers: must be a whole number from 1 to 512, is true'],
    ['worker:\n  max_workers: [1]', '2: worker.max_workers: must be a whole number from 1 to 512, is a list'],
    ['worker:\n  max_workers:', '2: worker.max_workers: must be a whole number from 1 to 512, is empty'],
    ['worker:\n  min_workers: 11', '2: worker.min_workers: must not be above worker.max_workers, is 11'],
    ['worker:\n  queue_size: 0', '2: worker.queue_size: must be a whole number from 1 to 100000000, is 0'],
    ['worker:\n  poison_after: 101', '2: worker.poison_after: must be a whole number from 1 to 100, is 101'],
    ['server:\n  port: 65536', '2: server.port: must be a whole number from 0 to 65535, is 65536'],
    ['data:\n  max_stored: 0', '2: data.max_stored: must be a whole number from 1 to 1000000000, is 0'],
    // numbers, spans, sizes
    ['data:\n  ballast: 2GiB', '2: data.ballast: must be between 0B and 1GiB, is "2GiB"'],
    ['data:\n  min_free: -1', `2: data.min_free: ${SIZE}, is -1`],
    ['worker:\n  backoff:\n    jitter: 1.1', '3: worker.backoff.jitter: must be a number from 0 to 1, is 1.1'],
    ['worker:\n  backoff:\n    factor: .5', '3: worker.backoff.factor: must be a number from 1 to 10, is 0.5'],
    ['worker:\n  backoff:\n    base: soon', `3: worker.backoff.base: ${SPAN}, is "soon"`],
    ['worker:\n  job_timeout: 0.05', '2: worker.job_timeout: must be between 100ms and 24d, is 0.05'],
    ['worker:\n  job_timeout: 25d', '2: worker.job_timeout: must be between 100ms and 24d, is "25d"'],
    ['worker:\n  job_timeout: {}', `2: worker.job_timeout: ${SPAN}, is a mapping`],
    ['worker:\n  shutdown_grace: 61m', '2: worker.shutdown_grace: must be between 0ms and 1h, is "61m"'],
    ['worker:\n  poll: 99ms', '2: worker.poll: must be between 100ms and 1m, is "99ms"'],
    ['server:\n  header_timeout: 0', '2: server.header_timeout: must be between 100ms and 1h, is 0'],
    ['server:\n  idle_timeout: 999ms', '2: server.idle_timeout: must be between 1s and 1h, is "999ms"'],
    ['server:\n  max_connections: 0', '2: server.max_connections: must be a whole number from 1 to 100000, is 0'],
    ['server:\n  body_limit: 1023', '2: server.body_limit: must be between 1KiB and 64MiB, is 1023'],
    ['server:\n  body_limit: 1.5MiB', `2: server.body_limit: ${SIZE}, is "1.5MiB"`],
    ['server:\n  body_limit: 2000.5', `2: server.body_limit: ${SIZE}, is 2000.5`],
    ['server:\n  body_limit: 1mib', `2: server.body_limit: ${SIZE}, is "1mib"`],
    ['server:\n  body_limit: true', `2: server.body_limit: ${SIZE}, is true`],
    // texts, lists, mappings
    ['server:\n  host: ""', `2: server.host: ${HOST}, is ""`],
    ['server:\n  host: http://a/', `2: server.host: ${HOST}, is "http://a/"`],
    [`server:\n  host: "${' '.repeat(61)}"`, `2: server.host: ${HOST}, is a text of 61 characters`],
    ['worker:\n  types: ./jobs', '2: worker.types: must be a list of folders, is "./jobs"'],
    ['worker:\n  types:\n    - a\n    - 3', '4: worker.types.1: must be the path of a folder, is 3'],
    ['worker: 3', '1: worker: must be a mapping, is 3'],
    ['jobs: {email: 3}', '1: jobs.email: must be a mapping, is 3'],
    ['jobs: []', '1: jobs: must be a mapping, is a list'],
    // unknown keys
    ['worker:\n  max_wokers: 3', '2: worker.max_wokers: unknown key, did you mean "max_workers"?'],
    [
      'server:\n  xyzzy: 3',
      '2: server.xyzzy: unknown key, known here: host, port, body_limit, header_timeout, body_timeout, idle_timeout, max_connections, cors_origins',
    ],
    [
      'plans: {}',
      '1: plans: unknown key, known here: server, data, worker, limits, jobs, schedules, digests, retention, auth',
    ],
    ['Worker: {}', '1: Worker: unknown key, did you mean "worker"?'],
    [
      'constructor: 1',
      '1: constructor: unknown key, known here: server, data, worker, limits, jobs, schedules, digests, retention, auth',
    ],
    ['\n__proto__: {}', '2: __proto__: unknown key'],
    ['jobs:\n  __proto__: {}', '2: jobs.__proto__: unknown key'],
    ['jobs:\n  email:\n    - __proto__: 1', '3: jobs.email.0.__proto__: unknown key'],
    [
      'data:\n  artifacts:\n    store: database',
      '3: data.artifacts.store: must be "folder" with SQLite: "database" needs data.database.master.driver "postgres"',
    ],
    ['data:\n  artifacts:\n    store: s3', '3: data.artifacts.store: must be "folder" or "database", is "s3"'],
    // the database
    [
      'data:\n  database:\n    master:\n      driver: postgres',
      '3: data.database.master.source: must be a URL such as "postgres://user:password@host:5432/database" with the driver postgres, is missing',
    ],
    [
      'data:\n  database:\n    master:\n      driver: postgres\n      source: postgres://a/b\n      schema: pg_own',
      '6: data.database.master.schema: must be a name of up to 50 small letters, digits and _ that does not begin with a digit or "pg_", is "pg_own"',
    ],
    [
      'data:\n  database:\n    master:\n      driver: mysql',
      '4: data.database.master.driver: must be "sqlite3" or "postgres", is "mysql"',
    ],
    // YAML itself
    ['server:\n  port: 1\n  port: 2', '3: not valid YAML: Map keys must be unique'],
    ['server:\n  host: "a', '2: not valid YAML: Missing closing "quote'],
    ['server:\n\tport: 1', '2: not valid YAML: Tabs are not allowed as indentation'],
    ['server:\n  host: !env HOST', '2: not valid YAML: Unresolved tag: !env'],
    ['server: {}\n---\nworker: {}', '2: must be a single YAML document'],
    ['worker: &a {backoff: *a}', '1: cannot be read: Converting circular structure to JSON'],
  ])('%j', (yaml, line) => {
    expect(problems(yaml)).toEqual([`config.yaml:${line}`])
  })

  it.each([
    ['- a', 'config.yaml: must be a mapping, is a list'],
    ['text', 'config.yaml: must be a mapping, is "text"'],
  ])('%j, as a whole', (yaml, line) => {
    expect(problems(yaml)).toEqual([line])
  })

  it('when its aliases would multiply without bound', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `  l${i + 1}: &l${i + 1} [${`*l${i}, `.repeat(9)}]`)
    const [line, ...more] = problems(['jobs:', '  l0: &l0 [1]', ...levels].join('\n'))
    expect(line).toContain('config.yaml:1: cannot be read: Excessive alias count')
    expect(more).toEqual([])
  })

  it('with all of its problems at once, in the order of its lines', () => {
    const filler = '# more\n'.repeat(7)
    const yaml = `worker:\n  max_wokers: 4\n  min_workers: 11\n  poll: 1h\n  odd: 1\n${filler}jobs: {email: 3}\nserver: {port: -1}\n`
    expect(problems(yaml).map((line) => line.split(': ', 2).join(' '))).toEqual([
      'config.yaml:2 worker.max_wokers',
      'config.yaml:3 worker.min_workers',
      'config.yaml:4 worker.poll',
      'config.yaml:5 worker.odd',
      'config.yaml:13 jobs.email',
      'config.yaml:14 server.port',
    ])
  })

  it('with the problems as values too', () => {
    const error = (() => {
      try {
        return load('worker: {max_workers: 0}')
      } catch (error) {
        return error
      }
    })()
    expect(error).toMatchObject({
      name: 'ConfigError',
      problems: [
        {
          key: 'worker.max_workers',
          where: 'config.yaml:1',
          message: 'must be a whole number from 1 to 512, is 0',
        },
      ],
    })
  })
})

describe('the file', () => {
  it('is the argument first, then JOBMILL_CONFIG, then config.yaml', () => {
    writeFileSync(join(cwd, 'argument.yaml'), 'server: {port: 1}')
    writeFileSync(join(cwd, 'variable.yaml'), 'server: {port: 2}')
    const env = { JOBMILL_CONFIG: 'variable.yaml' }
    const yaml = 'server: {port: 3}'
    expect(load(yaml, { env, file: 'argument.yaml' }).server.port).toBe(1)
    expect(load(yaml, { env }).server.port).toBe(2)
    expect(load(yaml, { env: { JOBMILL_CONFIG: '' } }).server.port).toBe(3)
  })

  it('has to exist when it was asked for', () => {
    expect(problems('', { file: 'none.yaml' })).toEqual(['none.yaml: there is no such file'])
    expect(problems('', { env: { JOBMILL_CONFIG: 'none.yaml' } })).toEqual(['none.yaml: there is no such file'])
  })

  it('is not passed over when it is there and cannot be read', () => {
    mkdirSync(join(cwd, 'config.yaml'))
    expect(problems(null)).toEqual([expect.stringMatching(/^config\.yaml: cannot be read: EISDIR/)])
  })

  it('is named in problems as it was asked for', () => {
    mkdirSync(join(cwd, 'etc'))
    writeFileSync(join(cwd, 'etc', 'mill.yaml'), 'server: {port: x}')
    expect(problems(null, { file: 'etc/mill.yaml' })[0]).toMatch(/^etc\/mill\.yaml:1: server\.port: /)
  })

  it('is where relative paths start, from whichever folder the server is started', () => {
    mkdirSync(join(cwd, 'etc'))
    const file = join(cwd, 'etc', 'mill.yaml')
    writeFileSync(file, 'data: {database: {master: {source: db/jobs.db}}}\nworker: {types: [types, ../more, /abs]}')
    const config = loadConfig({ file: join('..', 'etc', 'mill.yaml'), env: {}, cwd: join(cwd, 'elsewhere') })
    expect(config).toMatchObject({
      file,
      dir: join(cwd, 'etc'),
      data: { database: { file: join(cwd, 'etc', 'db', 'jobs.db') } },
      worker: { types: [join(cwd, 'etc', 'types'), join(cwd, 'more'), '/abs'] },
    })
  })
})

describe('keys, origins, retention and artifacts', () => {
  const SHA = 'ab'.repeat(32)

  it('are read, hashes in lower case', () => {
    const { auth, server, retention, data } = load(
      `server: { cors_origins: ["https://a.example.com", "http://localhost:3000"] }
auth:
  keys: [{ name: shop, sha256: ${SHA.toUpperCase()}, scopes: ["jobs:read", "jobs:write"] }]
data: { max_bytes: 1GiB, artifacts: { dir: files } }
retention: { completed: { max_count: 5 }, failed: { max_age: forever }, cancelled: }
`,
      { env: { JOBMILL_API_KEY: 'a-key-of-many-letters' } },
    )
    expect(auth.keys).toEqual([
      { name: 'shop', sha256: SHA, scopes: ['jobs:read', 'jobs:write'] },
      { name: 'JOBMILL_API_KEY', sha256: expect.stringMatching(/^[\da-f]{64}$/), scopes: ['admin'] },
    ])
    expect(server.cors_origins).toEqual(['https://a.example.com', 'http://localhost:3000'])
    expect(data).toMatchObject({ max_bytes: 1_073_741_824, artifacts: { dir: join(cwd, 'files') } })
    expect(retention).toEqual({
      completed: { max_age: 7 * 86_400_000, max_count: 5 },
      failed: { max_age: null },
      cancelled: { max_age: 7 * 86_400_000 },
    })
  })

  it.each([
    [`auth: { keys: [{ name: a, sha256: ${SHA}, scopes: [all] }] }`, 'auth.keys.0.scopes.0: must be "jobs:read" or'],
    [
      `auth: { keys: [{ name: a b, sha256: ${SHA}, scopes: [admin] }] }`,
      'auth.keys.0.name: must be a name of up to 64',
    ],
    [
      'auth: { keys: [{ name: a, sha256: secret-itself, scopes: [admin] }] }',
      'auth.keys.0.sha256: must be the SHA-256',
    ],
    [`auth: { keys: [{ name: a, sha256: ${SHA}, scopes: [] }] }`, 'auth.keys.0.scopes: must have at least 1 entries'],
    [
      `auth: { keys: [{ name: a, sha256: ${SHA}, scopes: [admin] }, { name: b, sha256: ${SHA}, scopes: [admin] }] }`,
      'auth.keys.1.sha256: must not be that of another key',
    ],
    ['server: { cors_origins: ["*"] }', 'server.cors_origins.0: must be an origin such as'],
    ['server: { cors_origins: ["https://a.example.com/"] }', 'server.cors_origins.0: must be an origin such as'],
    ['jobs: { cleanup: { roots: ["."] } }', "jobs.cleanup.roots.0: must not hold jobmill's own database"],
    ['jobs: { cleanup: { roots: ["logs", "data"] } }', "jobs.cleanup.roots.1: must not hold jobmill's own artifacts"],
    [
      'jobs: { cleanup: { roots: ["data/artifacts/ab"] } }',
      "jobs.cleanup.roots.0: must not hold jobmill's own artifacts",
    ],
    ['jobs: { cleanup: { roots: ["./jobs.db"] } }', "jobs.cleanup.roots.0: must not hold jobmill's own database"],
    ['retention: { completed: 7d }', 'retention.completed: must be a mapping, is "7d"'],
    ['retention: { pending: { max_age: 7d } }', 'retention.pending: unknown key'],
    ['retention: { failed: { max_age: never } }', 'retention.failed.max_age: must be'],
  ])('are refused: %s', (yaml, message) => {
    const [first = ''] = problems(yaml)
    expect(first).toContain(message)
    expect(first).not.toContain('secret-itself')
  })
})

describe('variables and arguments', () => {
  it('win over the file, and arguments over variables', () => {
    const yaml = 'server: {host: file.example, port: 1}\nworker: {max_workers: 1, queue_size: 1}'
    const env = {
      JOBMILL_SERVER__HOST: 'env.example',
      JOBMILL_SERVER__PORT: '2',
      JOBMILL_WORKER__MAX_WORKERS: '2',
    }
    const { server, worker } = load(yaml, { env, overrides: { port: '3' } })
    expect(server).toMatchObject({ host: 'env.example', port: 3 })
    expect(worker).toMatchObject({ max_workers: 2, queue_size: 1 })
    expect(load(yaml, { env, overrides: { host: '::', port: '0' } }).server).toMatchObject({ host: '::', port: 0 })
  })

  it('are read as YAML, at any depth, in any case, with or without a file', () => {
    const env = {
      JOBMILL_WORKER__TYPES: '[a, b]',
      JOBMILL_WORKER__BACKOFF: '{base: 2s, jitter: 0}',
      JOBMILL_WORKER__BACKOFF__FACTOR: '3',
      JOBMILL_worker__Poll: '"2s"',
      JOBMILL_JOBS__EMAIL__SMTP__SECURE: 'true',
      JOBMILL_JOBS__EXPORT: '',
    }
    const { worker, jobs } = load(null, { env })
    expect(worker).toMatchObject({ types: [join(cwd, 'a'), join(cwd, 'b')], poll: 2_000 })
    expect(worker.backoff).toEqual({ base: 2_000, factor: 3, max: 300_000, jitter: 0 })
    expect(jobs).toEqual({ email: { smtp: { secure: true } }, export: {} })
  })

  it.each([
    ['JOBMILL_WORKER__MAX_WORKERS', '0', ': worker.max_workers: must be a whole number from 1 to 512, is 0'],
    ['JOBMILL_SERVER__PORT', '', ': server.port: must be a whole number from 0 to 65535, is empty'],
    ['JOBMILL_WORKER__MAX_WOKERS', '3', ': worker.max_wokers: unknown key, did you mean "max_workers"?'],
    ['JOBMILL_WROKER__POLL', '3', ': wroker: unknown key, did you mean "worker"?'],
    [
      'JOBMILL_CONSTRUCTOR__X',
      '3',
      ': constructor: unknown key, known here: server, data, worker, limits, jobs, schedules, digests, retention, auth',
    ],
    ['JOBMILL_JOBS__EMAIL', '3', ': jobs.email: must be a mapping, is 3'],
    ['JOBMILL_WORKER__TYPES', '{a: 1}', ': worker.types: must be a list of folders, is a mapping'],
    ['JOBMILL_WORKER__TYPES__0', 'a', ': worker.types: must be a list of folders, is a mapping'],
    ['JOBMILL_WORKER__POLL', '[', ': worker.poll: not valid YAML: Flow sequence must end with a ]'],
    ['JOBMILL_JOBS__EMAIL', '{__proto__: 1}', ': jobs.email.__proto__: unknown key'],
    ['JOBMILL_CONFG', 'x', ': unknown variable, did you mean "JOBMILL_CONFIG"?'],
    ['JOBMILL_PORT', '80', ': unknown variable, a setting is written like JOBMILL_WORKER__MAX_WORKERS'],
    ['JOBMILL_WORKER', '{}', ': unknown variable, a setting is written like JOBMILL_WORKER__MAX_WORKERS'],
  ])('are refused by their name: %s=%s', (name, value, rest) => {
    expect(problems(BLOCK, { env: { [name]: value } })).toEqual([name + rest])
  })

  it('are refused inside of a value of the file that has no keys, which is checked as well', () => {
    const env = { JOBMILL_WORKER__TYPES__0: 'a', JOBMILL_SERVER__PORT: '1' }
    expect(problems('worker: {types: []}\nserver: 3', { env })).toEqual([
      'config.yaml:2: server: must be a mapping, is 3',
      'JOBMILL_SERVER__PORT: server.port: lies inside a value without keys',
      'JOBMILL_WORKER__TYPES__0: worker.types.0: lies inside a value without keys',
    ])
  })

  it('are refused by the name of the argument', () => {
    const env = { JOBMILL_SERVER__PORT: 'x' }
    expect(problems(BLOCK, { env, overrides: { host: '', port: 'abc' } })).toEqual([
      '--host: server.host: must be a host name or an address, without a port, is ""',
      '--port: server.port: must be a whole number from 0 to 65535, is "abc"',
    ])
  })

  it('of other programs and of tests are left alone', () => {
    const env = {
      PATH: '/bin',
      JOBMILL_API_KEY: 'a-key-of-many-letters',
      JOBMILL_TEST_ANY: 'x',
      JOBMILL_TEST_A__B: 'x',
      JOBMILLER__X: '1',
    }
    expect(problems(BLOCK, { env })).toEqual([])
  })
})

describe('the database source', () => {
  const yamlOf = (source: string) => stringify({ data: { database: { master: { source } } } })

  it.each([
    ['jobs.db', 'jobs.db'],
    ['./sub/jobs.db', 'sub/jobs.db'],
    ['/var/lib/jobs.db', '/var/lib/jobs.db'],
    ['50%.db', '50%.db'],
    ['what?.db', 'what?.db'],
    ['file:jobs.db', 'jobs.db'],
    ['file:sub/jobs.db#part', 'sub/jobs.db'],
    ['file:my%20jobs%3F.db', 'my jobs?.db'],
    ['file:a+b.db', 'a+b.db'],
    ['file:/var/jobs.db', '/var/jobs.db'],
    ['file:///var/jobs.db', '/var/jobs.db'],
    ['file://localhost/var/jobs.db', '/var/jobs.db'],
    ['file:jobs.db?_fk=1', 'jobs.db'],
  ])('%j is the file %j', (source, file) => {
    const config = load(yamlOf(source))
    const path = file.startsWith('/') ? file : join(cwd, file)
    expect(config.data.database).toEqual({ driver: 'sqlite', file: path })
    expect(config.warnings).toEqual([])
  })

  it.each([
    ['', 'must name a file, what is only in memory does not survive a restart'],
    [':memory:', 'must name a file, what is only in memory does not survive a restart'],
    ['file:', 'must name a file, what is only in memory does not survive a restart'],
    ['file::memory:', 'must name a file, what is only in memory does not survive a restart'],
    ['file:?cache=shared', 'must name a file, what is only in memory does not survive a restart'],
    ['file:jobs.db?cache=shared&mode=memory', 'must name a file, what is only in memory does not survive a restart'],
    ['file://jobs.db', 'must not name a host: write file:jobs.db or file:///folder/jobs.db'],
    ['file:50%.db', 'must have valid percent-encoding and no NUL'],
    ['file:%ff.db', 'must have valid percent-encoding and no NUL'],
    ['file:a%00.db', 'must have valid percent-encoding and no NUL'],
    ['postgres://me:secret@host/db', 'must be a path or a "file:" URI, or have driver: postgres beside it'],
    ['mysql://me:secret@host/db', 'must be a path or a "file:" URI'],
  ])('%j is refused, and not repeated, for it may hold a password', (source, message) => {
    expect(problems(yamlOf(source))).toEqual([`config.yaml:4: data.database.master.source: ${message}`])
  })

  it('a key that stands where an entry of auth.keys should is not repeated', () => {
    const [problem] = problems('auth: { keys: [jm_dont-show-this] }')
    expect(problem).toMatch(/^config\.yaml:1: auth\.keys\.0: must be a mapping$/)
  })

  it('has a warning that names the parameters without effect, and not their values', () => {
    const { warnings } = load(yamlOf('file:jobs.db?cache=private&_fk=1&_key=secret&_fk=0'))
    expect(warnings).toEqual([
      'config.yaml:4: data.database.master.source: parameters that have no effect here: cache, _key, _fk',
    ])
  })

  it('may come from a variable, which the warning then names', () => {
    const { warnings } = load(BLOCK, { env: { JOBMILL_DATA__DATABASE__MASTER__SOURCE: 'file:x.db?mode=rwc' } })
    expect(warnings).toEqual([expect.stringMatching(/^JOBMILL_DATA__DATABASE__MASTER__SOURCE: .*: mode$/)])
  })

  it.each(['sqlite', 'sqlite3'])('may have the driver %s', (driver) => {
    expect(problems(`data: {database: {master: {driver: ${driver}}}}`)).toEqual([])
  })
})

describe('a PostgreSQL database', () => {
  const master = (keys: string) => `data: {database: {master: {driver: postgres, ${keys}}}}`

  it.each([
    ['postgres://me:secret@host:5433/shop?sslmode=require', 'jobmill'],
    ['postgresql://host/shop', 'work_1'],
  ])('is a URL and a schema', (source, schema) => {
    const { data, warnings } = load(master(`source: "${source}"${schema === 'jobmill' ? '' : `, schema: ${schema}`}`))
    expect(data.database).toEqual({ driver: 'postgres', source, schema })
    expect(warnings).toEqual([])
  })

  it('keeps the artifacts too, unless they are to stay in a folder', () => {
    const storeOf = (keys: string) =>
      load(`data: {artifacts: {${keys}}, database: {master: {driver: postgres, source: postgres://a/b}}}`).data
        .artifacts
    expect(storeOf('')).toEqual({ store: 'database', dir: join(cwd, 'data/artifacts'), max_bytes: 1_073_741_824 })
    expect(storeOf('store: folder, dir: /mnt/shared')).toMatchObject({ store: 'folder', dir: '/mnt/shared' })
  })

  it.each(['jobs.db', 'file:jobs.db', 'http://me:secret@host/db', 'postgres://:port'])('is not %j', (source) => {
    expect(problems(master(`source: "${source}"`))).toEqual([
      'config.yaml:1: data.database.master.source: must be a URL such as "postgres://user:password@host:5432/database" with the driver postgres',
    ])
  })
})

describe('the types that a node runs', () => {
  it('are types that there are', async () => {
    const config = load('worker: {only: [email, exprot]}')
    await expect(loadJobTypes(config)).rejects.toThrow(
      /^config.yaml:1: worker.only.1: must be one of .*email.*, is "exprot"$/,
    )
  })
})

describe('the keys of a job type', () => {
  const schema = z.strictObject({
    retry_count: z.int().min(0).max(100),
    name: z.string().min(2),
    mode: z.enum(['a', 'b']).default('a'),
    roots: z.array(z.string()).min(1).default(['.']),
    limit: z.union([z.string(), z.number()]).default(1),
    ratio: z.number().positive().default(1),
    token: z.string().optional(),
    file: z.custom(() => true).refine((file) => file !== 'gone', 'is not there'),
  })
  const check = (yaml: string, env = {}) => {
    const config = load(yaml, { env })
    const result = checkAt(config, ['jobs', 'report'], schema, config.jobs.report)
    return result.ok ? [] : new ConfigError(result.problems).message.split('\n')
  }

  it('are checked by a schema of their own, with its defaults', () => {
    const config = load('jobs: {report: {retry_count: 1, name: ab}}')
    const result = checkAt(config, ['jobs', 'report'], schema.omit({ file: true }), config.jobs.report)
    const data = { retry_count: 1, name: 'ab', mode: 'a', roots: ['.'], limit: 1, ratio: 1 }
    expect(result).toEqual({ ok: true, data })
  })

  it('are refused in the same words as the others, with their lines', () => {
    const yaml = `jobs:
  report:
    retry_count: 101
    name: x
    mode: c
    roots: []
    limit: true
    ratio: 0
    token: 12345
    file: gone
    retry_cuont: 1`
    expect(check(yaml)).toEqual([
      'config.yaml:3: jobs.report.retry_count: must be at most 100, is 101',
      'config.yaml:4: jobs.report.name: must have at least 2 characters, is "x"',
      'config.yaml:5: jobs.report.mode: must be "a" or "b", is "c"',
      'config.yaml:6: jobs.report.roots: must have at least 1 entries, is a list',
      'config.yaml:7: jobs.report.limit: must be a text, or must be a number, is true',
      'config.yaml:8: jobs.report.ratio: must be more than 0, is 0',
      'config.yaml:9: jobs.report.token: must be a text',
      'config.yaml:10: jobs.report.file: is not there',
      'config.yaml:11: jobs.report.retry_cuont: unknown key, did you mean "retry_count"?',
    ])
  })

  it('that are missing are reported where they belong', () => {
    const yaml = 'jobs:\n  report:\n    name: ab\n'
    const [retry, file, ...more] = check(yaml)
    expect(retry).toBe('config.yaml:2: jobs.report.retry_count: must be a number, is missing')
    expect(file).toBe('config.yaml:2: jobs.report.file: must be given, is missing')
    expect(more).toEqual([])
    expect(check('', { JOBMILL_JOBS__REPORT: '{retry_count: 1, file: a}' })).toEqual([
      'JOBMILL_JOBS__REPORT: jobs.report.name: must be a text, is missing',
    ])
    expect(check('', { JOBMILL_JOBS__REPORT__RETRY_COUNT: '1', JOBMILL_JOBS__REPORT__FILE: 'a' })).toEqual([
      'JOBMILL_JOBS__REPORT__FILE: jobs.report.name: must be a text, is missing',
    ])
  })
})

describe('nearest', () => {
  it.each([
    ['max_wokers', 'max_workers'],
    ['MAX_WORKERS', 'max_workers'],
    ['por', 'port'],
    ['prot', null],
    ['hots', null],
    ['', null],
    ['something_else', null],
  ])('of %j is %j', (word, expected) => {
    expect(nearest(word, ['port', 'max_workers', 'min_workers'])).toBe(expected)
  })

  it('prefers the closest one', () => {
    expect(nearest('min_worker', ['max_workers', 'min_workers'])).toBe('min_workers')
  })
})

describe('whatever it is given, loadConfig throws nothing but a ConfigError', () => {
  const holds = (...args: Parameters<typeof load>) => {
    try {
      return load(...args).worker.max_workers >= 1
    } catch (error) {
      return error instanceof ConfigError && error.problems.length > 0
    }
  }
  const KEYS = ['server', 'port', 'data', 'database', 'master', 'source', 'worker', 'backoff', 'base', 'poll', 'types']
  const key = fc.oneof(fc.constantFrom(...KEYS, 'jobs', 'a', '__proto__', 'constructor'), fc.string({ maxLength: 5 }))
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, tie('leaf'), tie('mapping'), tie('list')),
    mapping: fc.dictionary(key, tie('value'), { maxKeys: 5 }),
    list: fc.array(tie('value'), { maxLength: 3 }),
    leaf: fc.oneof(
      fc.string(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.constantFrom('file:%', '1e9d', '9MiB'),
    ),
  }))
  const TOKENS = [
    'a',
    ': ',
    '\n',
    '  ',
    '*a',
    '&a ',
    '{',
    '}',
    '[',
    ']',
    '"',
    '- ',
    '? ',
    '#',
    '|',
    '!!set ',
    '!x ',
    '---\n',
  ]
  const text = fc.array(fc.constantFrom(...TOKENS, '%YAML 1.1\n', '<<: ', ...KEYS)).map((tokens) => tokens.join(''))
  const RUNS = { numRuns: 300 }

  it('for arbitrary values', () => {
    fc.assert(
      fc.property(value, (value) => holds(stringify(value))),
      RUNS,
    )
  })

  it('for arbitrary texts', () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.string()), (text) => holds(text)),
      RUNS,
    )
  })

  it('for arbitrary variables and arguments', () => {
    const name = fc.array(key, { maxLength: 3 }).map((keys) => `JOBMILL_${keys.join('__')}`)
    const env = fc.dictionary(
      name,
      fc.oneof(
        text,
        fc.string(),
        value.map((value) => stringify(value)),
      ),
    )
    const overrides = fc.record({ host: fc.string(), port: fc.string() }, { requiredKeys: [] })
    fc.assert(
      fc.property(env, overrides, (env, overrides) => holds(BLOCK, { env, overrides })),
      RUNS,
    )
  })
})
