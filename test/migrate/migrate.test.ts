// jobmill migrate: what a file told PostgreSQL tells then, life goes on there, and nothing is transferred that is in use.
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { migrate } from '../../src/migrate/migrate.js'
import { StoreOpenError } from '../../src/store/open-error.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import type { Store } from '../../src/store/store.js'
import { databaseOfSchema1 } from '../store/schema1.js'
import { aJob, complete, DIGESTS, ids, NO_BOUNDS, RULES, T0, wholly } from '../store/suite/stage.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { artifactsOf, everything, fill, KEYS } from './full.js'

const LEASE_MS = 3_600_000
let schemas = 0

describe.skipIf(postgresMissing !== null)(`moving to PostgreSQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  const freshSchema = () => `moved_${++schemas}`

  /** A file with something in each table, and a copy that is not transferred. */
  async function full() {
    const folder = freshFolder()
    const [file, copy] = [join(folder, 'jobs.db'), join(folder, 'copy.db')]
    await fill(file)
    copyFileSync(file, copy)
    return { file, copy }
  }
  async function bring(from: string, schema: string) {
    const lines: string[] = []
    const tell = (line: string) => void lines.push(line)
    const artifacts = { from: artifactsOf(from), to: null }
    const options = { from, source: server.url(), schema, artifacts, tell }
    return { ...(await migrate(options)), lines }
  }
  async function openThere(schema: string, node = 'new'): Promise<Store> {
    const options = { source: server.url(), schema, node, lease: LEASE_MS, digests: DIGESTS }
    const store = await openPostgresStore(options, RULES)
    onTestFinished(store.close)
    return store
  }
  function openHere(file: string): Store {
    const store = openSqliteStore(file, RULES, { digests: DIGESTS })
    onTestFinished(store.close)
    return store
  }
  /** By its own lease: then it rescues what others left running. */
  const hasBeenThereLong = (schema: string) => server.ask(`UPDATE ${schema}.nodes SET steady_since = '2000-01-01'`)

  test('everything reads the same afterwards', async () => {
    const { file, copy } = await full()
    const schema = freshSchema()
    const { brought, counts, lines } = await bring(file, schema)
    const here = await everything(openHere(copy))
    expect(await everything(await openThere(schema))).toEqual(here)
    expect(new Set(here.jobs.map(({ status }: { status: string }) => status)).size).toBe(8)
    expect(brought).toBe(counts.filter(({ what }) => !what.includes(' ')).reduce((sum, { target }) => sum + target, 0))
    for (const { what, file, target } of counts) expect([what, target], `${what} is filled`).toEqual([what, file])
    expect(counts.filter(({ file }) => file === 0)).toEqual([])
    expect(lines.at(-1)).toMatch(/rows brought, all rows compared/)
  })

  test('life goes on: rescues, claims in order, what waited, keys and new events', async () => {
    const { file, copy } = await full()
    const schema = freshSchema()
    await bring(file, schema)
    const stores = [openHere(copy), await openThere(schema)]
    await hasBeenThereLong(schema)
    const [here, there] = await Promise.all(stores.map(live))
    expect(there).toEqual(here)
    expect(here).toMatchObject({ rescued: { length: 3 }, promoted: { length: 1 }, texts: { length: 3 } })
    expect(here?.claimed.length).toBeGreaterThan(500)
    const [, store] = stores as [Store, Store]
    const [idempotency] = KEYS
    const again = { ...aJob(), keys: idempotency === undefined ? [] : [idempotency] }
    const [answer] = await store.submit([again], NO_BOUNDS)
    expect(answer).toMatchObject({ deduplicated: true, job: { id: here?.keyed } })
  })

  /** The same steps on either side. */
  async function live(store: Store) {
    const now = T0 + 100_000
    const { rescued, promoted, unblocked } = await store.tick({ node: 'new', now })
    const more = await store.tick({ node: 'new', now })
    const types = ['a', 'again', 'crashed', 'crashed too', 'keyed', 'many', 'member', 'second', 'last', 'paused']
    const slots = Array.from({ length: 1_000 }, (_, i) => i + 1)
    const { claimed } = await store.claim({ node: 'new', shares: types.map(wholly), slots, now })
    const endings = claimed.map(({ id, run }) => ({ id, run, step: complete, now: now + 1 }))
    const settled = await store.settle(endings)
    await store.addDigestEvent(DIGESTS[0], { kind: 'later', text: 'after the transfer', created_at: now })
    const keyed = await store.recall(KEYS[0] as (typeof KEYS)[0], now, false)
    const sorted = (jobs: Parameters<typeof ids>[0]) => ids(jobs).sort()
    const digest = await store.digest('ops')
    return {
      rescued: sorted(rescued),
      promoted: sorted([...promoted, ...more.promoted]),
      unblocked: sorted([...unblocked, ...more.unblocked]),
      claimed: ids(claimed),
      held: (await store.list({ type: 'keyed' }, 10, null)).jobs.map(({ id, status }) => [id, status]),
      settled: settled.ended.map((job) => [job?.id, job?.status]),
      followed: sorted(settled.unblocked),
      texts: digest.events.map(({ text }) => text.replaceAll('\0', '\ufffd')),
      keyed: keyed?.jobs[0]?.id,
      counts: await store.counts(),
    }
  }

  test('a second call finds that all has come; the file is not run from any more', async () => {
    const { file } = await full()
    const schema = freshSchema()
    await bring(file, schema)
    const store = await openThere(schema)
    await store.submit([aJob()], NO_BOUNDS)
    expect(await bring(file, schema)).toMatchObject({
      brought: 0,
      lines: [expect.stringMatching(/has come .* before/)],
    })
    expect(() => openHere(file)).toThrow(StoreOpenError)
    expect(() => openHere(file)).toThrow(/were, or are being, transferred .* run twice/)
  })

  test('a file of the first release comes too', async () => {
    const file = databaseOfSchema1()
    const copy = join(freshFolder(), 'copy.db')
    copyFileSync(file, copy)
    const schema = freshSchema()
    await bring(file, schema)
    const store = await openThere(schema)
    expect(await store.attempts('job-1')).toMatchObject([{ reason: 'completed', reason_detail: null }])
    expect(await everything(store)).toEqual(await everything(openHere(copy)))
  })

  describe('is refused', () => {
    /** The file is no part of a transfer then: a node may start on it. */
    async function expectRefused(file: string, schema: string, words: RegExp) {
      await expect(bring(file, schema)).rejects.toThrow(words)
      await expect(bring(file, schema)).rejects.toThrow(StoreOpenError)
    }

    test('while a node runs on the file, or on PostgreSQL', async () => {
      const { file } = await full()
      const schema = freshSchema()
      const here = openHere(file)
      await expectRefused(file, schema, /in use by another process/)
      await here.close()
      const there = await openThere(schema, 'busy')
      await expectRefused(file, schema, /node busy runs on schema/)
      await openHere(file).close()
      await there.close()
      await bring(file, schema)
    })

    test('where PostgreSQL has jobs already, of its own or of another file', async () => {
      const { file, copy } = await full()
      const schema = freshSchema()
      const store = await openThere(schema)
      await store.submit([aJob()], NO_BOUNDS)
      await store.close()
      await expectRefused(file, schema, /is in use, there are rows in its table counts: drop the schema, or choose/)
      await openHere(file).close()
      await server.ask(`DROP SCHEMA ${schema} CASCADE`)
      await bring(file, schema)
      await expectRefused(copy, schema, /has jobs of another file, .*jobs\.db: choose another/)
      await openHere(copy).close()
    })

    test('where there is no file, or one of another program, or no server', async () => {
      const folder = freshFolder({ 'notes.db': 'these are notes, and no database at all' })
      const schema = freshSchema()
      await expectRefused(join(folder, 'none.db'), schema, /there is no file .*none\.db/)
      await expectRefused(join(folder, 'notes.db'), schema, /is corrupt/)
      const { file } = await full()
      const source = 'postgres://nobody@127.0.0.1:1/x'
      const going = migrate({
        from: file,
        source,
        schema,
        artifacts: { from: artifactsOf(file), to: null },
        tell: () => {},
      })
      await expect(going).rejects.toThrow(StoreOpenError)
      await expect(going).rejects.toThrow(/ECONNREFUSED.*: run jobmill migrate again/)
      await openHere(file).close()
    })
  })

  describe('cut off in the middle', () => {
    /** The schema refuses rows of that table. */
    async function cutOff(table: string) {
      const { file, copy } = await full()
      const schema = freshSchema()
      await (await openThere(schema)).close()
      await server.ask(`CREATE FUNCTION ${schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'no room'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON ${schema}.${table} EXECUTE FUNCTION ${schema}.refuse()`)
      await expect(bring(file, schema)).rejects.toThrow(/cut off \(no room\): run jobmill migrate again/)
      await server.ask(`DROP FUNCTION ${schema}.refuse CASCADE`)
      return { file, copy, schema }
    }

    test.each(['service', 'jobs', 'attempts', 'ticks', 'counts'])(
      'before %s, it goes on, and each row comes once',
      async (table) => {
        const { file, copy, schema } = await cutOff(table)
        const { brought, counts } = await bring(file, schema)
        const all = counts.filter(({ what }) => !what.includes(' ')).reduce((sum, { target }) => sum + target, 0)
        expect(brought === all).toBe(table === 'service')
        expect(await everything(await openThere(schema))).toEqual(await everything(openHere(copy)))
      },
    )

    test('it would bring rows twice, and is stopped, if it did not know how far it was: the control', async () => {
      const { file, schema } = await cutOff('ticks')
      await server.ask(`UPDATE ${schema}.transfers SET reached = NULL`)
      await expect(bring(file, schema)).rejects.toThrow(/duplicate key value/)
    })

    test('no node starts on either side, and no other file comes in between', async () => {
      const { file, copy, schema } = await cutOff('ticks')
      await expect(openThere(schema)).rejects.toThrow(StoreOpenError)
      await expect(openThere(schema)).rejects.toThrow(/has only a part of .*jobs\.db: "jobmill migrate --from/)
      expect(() => openHere(file)).toThrow(/were, or are being, transferred/)
      await expect(bring(copy, schema)).rejects.toThrow(
        /has jobs of another file, .*: transfer the rest of that one, or/,
      )
      await bring(file, schema)
      await (await openThere(schema)).close()
    })

    test.each([
      [
        'changed',
        `UPDATE %.jobs SET payload = '{}' WHERE type = 'done'`,
        /a row of jobs is not what it is in the file/,
      ],
      ['added', `INSERT INTO %.pauses VALUES ('mine')`, /pauses: the file has 1 rows, schema .* has 2, somebody else/],
      ['lost', `DELETE FROM %.logs WHERE line = 2`, /logs: the file has 3 rows, schema .* has 2/],
      ['swapped', `UPDATE %.tags SET tag = 'other'`, /a row of tags is not what it is in the file/],
    ])('it is not finished where a row was %s meanwhile', async (_, text, words) => {
      const { file, schema } = await cutOff('ticks')
      await server.ask(text.replace('%', schema))
      await expect(bring(file, schema)).rejects.toThrow(words)
      await expect(openThere(schema)).rejects.toThrow(/has only a part of/)
    })
  })
})
