// Starting: what is wrong is said in a sentence, with exit code 1; what is right serves real mail.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { launch, startProcess } from '../support/process.js'
import { until } from '../support/until.js'

async function refusal(
  files: Record<string, unknown>,
  args: string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const { exit, errors, output } = launch(freshFolder(files), args, env)
  expect((await exit).code).toBe(1)
  expect(output()).not.toContain('listens')
  return errors()
}

describe('the program refuses to start', () => {
  test('with a wrong configuration: key, line and the nearest known key', async () => {
    const errors = await refusal({ 'config.yaml': 'worker:\n  max_workers: 4\n  queue_sise: 5\n' })
    expect(errors).toBe('config.yaml:3: worker.queue_sise: unknown key, did you mean "queue_size"?\n')
  })

  test('with a wrong key of a job type', async () => {
    const errors = await refusal({ 'config.yaml': 'jobs:\n  email:\n    timeout: 60\n    outbx: here\n' })
    expect(errors).toBe('config.yaml:4: jobs.email.outbx: unknown key, did you mean "outbox"?\n')
    const common = await refusal({ 'config.yaml': 'jobs:\n  email:\n    timout: 60\n' })
    expect(common).toBe('config.yaml:3: jobs.email.timout: unknown key, did you mean "timeout"?\n')
  })

  test('with a wrong value in the environment', async () => {
    expect(await refusal({}, [], { JOBMILL_WORKER__MAX_WORKERS: 'many' })).toMatch(
      /^JOBMILL_WORKER__MAX_WORKERS: worker.max_workers: must be a whole number from 1 to 512/,
    )
  })

  test('with an unknown argument or command', async () => {
    expect(await refusal({}, ['--prot', '1'])).toContain('--prot')
    expect(await refusal({}, ['swerve'])).toContain('swerve')
  })

  test('off loopback without a key, and says how to make one', async () => {
    for (const args of [
      ['--host', '0.0.0.0'],
      ['--host', '0.0.0.0', '--check-config'],
    ]) {
      expect(await refusal({}, args)).toMatch(
        /^--host: server.host: must be a loopback address as long as there is no API key: .*"jobmill key" makes one/,
      )
    }
  })

  test('with a JOBMILL_API_KEY that is too short or does not fit into a header, and does not show it', async () => {
    for (const key of ['short', 'has blanks in it, many of them', 'ümlaut-ümlaut-ümlaut']) {
      const errors = await refusal({}, [], { JOBMILL_API_KEY: key })
      expect(errors).toBe('JOBMILL_API_KEY: must have at least 16 characters, of letters, digits and -._~+/\n')
    }
  })

  test('on a port that is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.on('listening', resolve))
    const { port } = server.address() as { port: number }
    expect(await refusal({}, ['--port', String(port)])).toBe(
      'jobmill: the port is in use; choose another with --port or server.port\n',
    )
    server.close()
  })

  test('in a folder that cannot be written', async () => {
    const source = 'file:blocked/jobs.db'
    const errors = await refusal({ blocked: 'a file', 'config.yaml': { data: { database: { master: { source } } } } })
    expect(errors).toMatch(/blocked\/jobs\.db cannot be opened for writing/)
  })

  test('on a database that another process has open', async () => {
    const folder = freshFolder()
    await startProcess(folder)
    const { exit, errors } = launch(folder, ['--port', '0'])
    expect((await exit).code).toBe(1)
    expect(errors()).toMatch(/jobs\.db is in use by another process/)
  })

  test('on a corrupt database, which is kept as it is', async () => {
    const folder = freshFolder({ 'jobs.db': 'this is no database '.repeat(500) })
    const { exit, errors } = launch(folder)
    expect((await exit).code).toBe(1)
    expect(errors()).toMatch(/jobs\.db is corrupt .* it is kept as it is/)
    expect(readFileSync(join(folder, 'jobs.db'), 'utf8')).toBe('this is no database '.repeat(500))
  })
})

describe('the program', () => {
  test('checks a configuration and the job types without starting', async () => {
    const folder = freshFolder({
      'types/broken.mjs': 'throw new Error("no")',
      'config.yaml': { worker: { types: ['types'] }, jobs: { nope: { timeout: 1 } } },
    })
    const { exit, output } = launch(folder, ['--check-config'])
    expect((await exit).code).toBe(0)
    expect(output()).toMatch(
      /config\.yaml is valid\ntype cleanup: ok\ntype email: ok\ntype export: ok\ntype broken: cannot be loaded: no\n.*jobs\.nope: has no effect: there is no such job type\n/,
    )
    expect(readdirSync(folder).sort()).toEqual(['config.yaml', 'types'])
  })

  test('says its version and its options', async () => {
    for (const [argument, text] of [
      ['--version', /^\d+\.\d+\.\d+\n$/],
      ['--help', /--check-config/],
    ] as const) {
      const { exit, output } = launch(freshFolder(), [argument])
      expect((await exit).code).toBe(0)
      expect(output()).toMatch(text)
    }
  })

  test('writes a mail into the outbox without any configuration', async () => {
    const folder = freshFolder()
    const { submit, reaches } = await startProcess(folder)
    const { id } = await submit({
      type: 'email',
      payload: { to: 'user@example.com', subject: 'Hello', body: 'Test email' },
    })
    expect((await reaches(id, 'completed', 'failed')).result).toMatchObject({
      message_id: `<${id}@localhost>`,
      file: `${id}.eml`,
    })
    const mail = readFileSync(join(folder, 'data/outbox', `${id}.eml`), 'utf8')
    expect(mail).toMatch(/^To: user@example\.com\r$/m)
    expect(mail).toContain('Test email')
  })

  test('runs a TypeScript job type where this Node reads it, and says so where it does not', async () => {
    const folder = freshFolder({
      'types/typed.ts': 'export default { run: (n: number): number => n + 1 }',
      'config.yaml': { worker: { types: ['types'] } },
    })
    const { call, submit, reaches } = await startProcess(folder)
    const { types } = (await call('GET', '/types')).body as unknown as {
      types: { name: string; reason: string | null }[]
    }
    const { reason } = types.find(({ name }) => name === 'typed') ?? {}
    if (reason !== null) expect(reason).toMatch(/does not read this kind of file; use \.js or \.mjs/)
    else expect((await reaches((await submit({ type: 'typed', payload: 1 })).id, 'completed')).result).toBe(2)
  })

  test('makes a key whose lines let it in from any address', async () => {
    const { exit, output } = launch(freshFolder(), ['key', '--name', 'shop'])
    expect((await exit).code).toBe(0)
    const [, key = '', yaml = ''] = /\n {2}(jm_[\w-]{43})\n[\s\S]*?\n(auth:[\s\S]*)$/.exec(output()) ?? []
    expect(yaml).toContain('- name: shop')
    expect(yaml).not.toContain(key)
    const { url } = await startProcess(freshFolder({ 'config.yaml': `server: { host: 0.0.0.0 }\n${yaml}` }))
    const at = url.replace('0.0.0.0', '127.0.0.1')
    expect((await fetch(`${at}/jobs`)).status).toBe(401)
    const headers = { Authorization: `Bearer ${key}`, Host: 'jobs.example.com' }
    expect((await fetch(`${at}/jobs`, { headers })).status).toBe(200)
  })

  test('takes the key of JOBMILL_API_KEY, with all scopes', async () => {
    const JOBMILL_API_KEY = 'a-key-of-many-letters'
    const { url } = await startProcess(freshFolder(), { JOBMILL_API_KEY })
    const headers = { Authorization: `Bearer ${JOBMILL_API_KEY}` }
    expect((await fetch(`${url}/jobs`)).status).toBe(401)
    const body = JSON.stringify({ max_workers: 2 })
    expect((await fetch(`${url}/workers`, { method: 'PUT', headers, body })).status).toBe(200)
  })

  test('lives on when what a type’s file started fails long after it was loaded', async () => {
    const folder = freshFolder({
      'types/late.mjs': `setTimeout(() => { throw new Error('much later') }, 300)
        setTimeout(() => { Promise.reject(new Error('rejected later')) }, 400)
        export default { run: () => 'fine' }`,
      'config.yaml': { worker: { types: ['types'] } },
    })
    const { lines, submit, reaches } = await startProcess(folder)
    const told = (error: string) => lines().some((line) => line.type === 'late' && line.error === error)
    await until('both errors came', () => told('much later') && told('rejected later'))
    expect((await reaches((await submit({ type: 'late' })).id, 'completed')).result).toBe('fine')
  })

  test('stops cleanly when a signal comes while it starts', async () => {
    const folder = freshFolder({
      'types/slow.mjs': `import { setTimeout } from 'node:timers/promises'
        import { appendFileSync } from 'node:fs'
        appendFileSync('begun', 'x'); await setTimeout(1000); export default { run() {} }`,
      'config.yaml': { worker: { types: ['types'] } },
    })
    const { child, exit, output } = launch(folder, ['--port', '0'])
    await until('it loads its types', () => existsSync(join(folder, 'begun')))
    expect(output()).not.toContain('listens')
    child.kill('SIGTERM')
    expect(await exit).toEqual({ code: 0, signal: null })
    expect(output()).toContain('"stopped"')
  })

  test('keeps its memory flat while a full queue refuses 5,000 large jobs', async () => {
    const folder = freshFolder({ 'config.yaml': { worker: { queue_size: 10, max_workers: 1 } } })
    // Were the refused jobs kept, their 160 MB would end a process with a heap of 64 MB.
    const { child, url, call } = await startProcess(folder, { NODE_OPTIONS: '--max-old-space-size=64' })
    const body = JSON.stringify({ type: 'email', payload: { to: 'a@b.c', subject: 'x', body: 'y'.repeat(32_000) } })
    const answers = new Map<number, number>()
    const client = async () => {
      for (let i = 0; i < 157; i += 1) {
        const response = await fetch(`${url}/jobs`, { method: 'POST', body })
        await response.arrayBuffer()
        answers.set(response.status, (answers.get(response.status) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: 32 }, client))
    expect([...answers.keys()].sort()).toEqual([202, 503])
    expect(answers.get(503)).toBeGreaterThan(4_000)
    expect((await call('GET', '/readyz')).status).toBe(200)
    expect(child.exitCode).toBe(null)
  }, 180_000)
})
