// Two versions side by side: this build, and a later one whose schema is newer, as real processes on one database.
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { launch, startProcess } from '../support/process.js'
import { typeFiles } from '../support/types.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** This build with a change of the schema that it does not have; nodes that know `oldest` can work with it. */
function laterBuild(oldest: number): string {
  const folder = freshFolder({})
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const about = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...about, version: '9.0.0' }))
  const sql = `-- Nodes that know version ${oldest} can work with it.\nALTER TABLE jobs ADD COLUMN later text;\n`
  writeFileSync(join(folder, 'dist/src/store/sql/postgres/9000_later.sql'), sql)
  return join(folder, 'dist/src/main.js')
}

describe.skipIf(postgresMissing !== null)(`two versions (${postgresMissing ?? 'on a real server'})`, () => {
  const server = usePostgres()
  const folderOf = (schema: string) => {
    const master = { driver: 'postgres', source: server.url(), schema }
    const worker = { types: ['types'], lease: '2s', poll: '100ms' }
    return freshFolder({ ...typeFiles(['greet']), 'config.yaml': { data: { database: { master } }, worker } })
  }

  test('work side by side where the older one can: one machine after the other is upgraded', {
    timeout: 180_000,
  }, async () => {
    const folder = folderOf('side_by_side')
    const old = await startProcess(folder)
    const { id: first } = await old.submit({ type: 'greet', payload: { name: 'before' } })
    await old.reaches(first, 'completed')
    const main = laterBuild(1)
    await refusedBehindADump(folder, main)
    const later = await startProcess(folder, {}, [], main)
    for (const [node, other] of [
      [old, later],
      [later, old],
    ] as const) {
      const { id } = await node.submit({ type: 'greet', payload: { name: 'both' } })
      expect(await other.reaches(id, 'completed')).toMatchObject({ result: { greeting: 'Hello, both' } })
    }
    const { body } = await later.call('GET', '/nodes')
    const versions = (body.nodes as unknown as { version: string; state: string }[]).map(({ version }) => version)
    expect(new Set(versions)).toEqual(
      new Set(['9.0.0', JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version]),
    )
    // It may also be started anew: whoever has to go back goes back.
    await old.kill('SIGTERM')
    const again = await startProcess(folder)
    const { id } = await again.submit({ type: 'greet', payload: { name: 'again' } })
    await later.reaches(id, 'completed')
  })

  /** All that use a table wait behind whoever waits to change it: no node may wait for long. */
  async function refusedBehindADump(folder: string, main: string): Promise<void> {
    const dump = new pg.Client({ connectionString: server.url() })
    await dump.connect()
    await dump.query('BEGIN')
    await dump.query('SELECT count(*) FROM side_by_side.jobs')
    const early = launch(folder, ['--port', '0'], {}, [], main)
    expect(await early.exit).toMatchObject({ code: 1 })
    expect(early.errors()).toMatch(/^the schema cannot be changed while .* such as a dump: start again after it\n$/)
    await dump.end()
  }

  test('the newer one is not started while an older one is alive that could not go on; then the older one is refused', {
    timeout: 180_000,
  }, async () => {
    const folder = folderOf('one_or_other')
    const old = await startProcess(folder)
    const main = laterBuild(9_000)
    const early = launch(folder, ['--port', '0'], {}, [], main)
    expect(await early.exit).toMatchObject({ code: 1 })
    expect(early.errors()).toMatch(
      /^nodes of an older jobmill are alive that could not go on with this one: stop \S+ first\n$/,
    )
    const { id } = await old.submit({ type: 'greet', payload: { name: 'still' } })
    await old.reaches(id, 'completed')
    await old.kill('SIGTERM')
    const later = await startProcess(folder, {}, [], main)
    expect(await later.get(id)).toMatchObject({ status: 'completed' })
    const late = launch(folder, ['--port', '0'])
    expect(await late.exit).toMatchObject({ code: 1 })
    expect(late.errors()).toMatch(
      /of version 9000, which takes a jobmill that knows version 9000, .*: use a newer jobmill\n$/,
    )
  })
})
