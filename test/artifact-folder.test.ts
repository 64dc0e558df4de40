// A folder of artifacts is one service's: another one would remove what it does not know.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ownFolder } from '../src/artifacts.js'
import { loadConfig } from '../src/config.js'
import { createLogger } from '../src/log.js'
import { createService } from '../src/service.js'
import { runFolders } from './support/artifact-places.js'
import { freshFolder } from './support/folder.js'
import { postgresMissing, usePostgres } from './support/postgres.js'
import { startService } from './support/service.js'

const MAKES = { type: 'makes', payload: { files: { 'a.csv': 'x' } } }

describe('a folder of artifacts', () => {
  const aRun = (dir: string) => {
    const folder = join(dir, 'ab', '01890000-0000-7000-8000-0000000000ab.1')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, '0'), 'kept')
    return join(folder, '0')
  }

  test('is the service’s that comes first, and goes on to be', async () => {
    const dir = join(freshFolder(), 'new/artifacts')
    await ownFolder(dir, 'one')
    aRun(dir)
    await ownFolder(dir, 'one')
    await expect(ownFolder(dir, 'other')).rejects.toThrow(/^data\.artifacts\.dir .* of another jobmill, .* or delete /)
    await ownFolder(dir, 'one')
  })

  test('is taken over where nothing is in it, or its mark is gone or was never written to its end', async () => {
    const dir = freshFolder()
    await ownFolder(dir, 'one')
    await ownFolder(dir, 'other')
    const file = aRun(dir)
    await expect(ownFolder(dir, 'one')).rejects.toThrow('another jobmill')
    rmSync(join(dir, '.service'))
    await ownFolder(dir, 'one')
    writeFileSync(join(dir, '.service'), '')
    await ownFolder(dir, 'third')
    await expect(ownFolder(dir, 'one')).rejects.toThrow('another jobmill')
    expect(readFileSync(file, 'utf8')).toBe('kept')
  })

  test('that cannot be written is no reason not to start', async () => {
    const file = join(freshFolder({ file: 'no folder' }), 'file')
    await ownFolder(join(file, 'artifacts'), 'one')
    expect(readFileSync(file, 'utf8')).toBe('no folder')
  })
})

describe.each([
  ['another file', false],
  [`PostgreSQL (${postgresMissing ?? 'a real server'})`, true],
])('a service with %s and the same folder of artifacts', (_, postgres) => {
  const server = usePostgres()

  test.skipIf(postgres && postgresMissing !== null)('does not start, and removes nothing', async () => {
    const first = await startService({ types: ['makes'] })
    const { id } = await first.submit(MAKES)
    await first.ends(id)
    const [run] = runFolders(first.folder)
    expect(run).toBe(`${id}.1`)
    const master = postgres ? { driver: 'postgres', source: server.url() } : { source: 'other.db' }
    const settings = { data: { database: { master }, artifacts: { dir: first.path('data/artifacts') } } }
    const config = loadConfig({ cwd: freshFolder({ 'config.yaml': settings }), env: {} })
    await expect(createService(config, { log: createLogger({ write: () => {} }) })).rejects.toThrow('another jobmill')
    expect(runFolders(first.folder)).toEqual([run])
  })
})
