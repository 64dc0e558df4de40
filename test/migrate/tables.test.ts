// Every table and column of both schemas is dealt with: whoever adds one finds out here that it has to be transferred, too.
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readTables } from '../../src/migrate/tables.js'
import { openConnection } from '../../src/store/postgres/connection.js'
import { migrate } from '../../src/store/postgres/migrate.js'
import { openDatabase } from '../../src/store/sqlite/open.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'

/** Those that have no counterpart, with where they go or why they do not. */
const ONLY_IN_FILE = {
  'totals.n': 'counts.ever',
  'totals.status': 'counts.status',
  'totals.type': 'counts.type',
}
const ONLY_IN_POSTGRES = {
  'counts.part': 'one for all that was in the file',
  'counts.ever': 'totals.n',
}
/** Of nodes and versions, of transfers themselves, of submit() in SQL, and of artifacts, which come as files. */
const OWN_OF_POSTGRES = [
  ...['migrations', 'nodes', 'transfers', 'types', 'counts_added', 'artifact_chunks', 'artifact_leftovers'],
]

describe.skipIf(postgresMissing !== null)(`what is transferred (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  test('is every column of every table', async () => {
    const { db, close } = openDatabase(join(freshFolder(), 'jobs.db'))
    const target = openConnection({ source: server.url(), schema: 'columns', node: 'test' })
    onTestFinished(() => target.close().then(close))
    await migrate(target, 'columns', async () => {})
    const here = db
      .prepare<[], { name: string }>(
        `SELECT t.name || '.' || c.name AS name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'`,
      )
      .all()
    const there = await target.all<{ name: string }>(
      `SELECT table_name || '.' || column_name AS name FROM information_schema.columns
       WHERE table_schema = 'columns' AND table_name <> ALL($1)`,
      [OWN_OF_POSTGRES],
    )
    const transferred = (await readTables(db, target)).flatMap(({ name, columns }) =>
      columns.map((column) => `${name}.${column}`),
    )
    const names = (rows: { name: string }[]) => rows.map(({ name }) => name).sort()
    expect(names(there)).toEqual(transferred.toSorted())
    const counterparts = transferred.filter((name) => !Object.hasOwn(ONLY_IN_POSTGRES, name))
    expect(names(here)).toEqual([...counterparts, ...Object.keys(ONLY_IN_FILE)].sort())
  })
})
