// Artifacts come with their jobs, byte by byte; what is missing is told, and a folder without any is another one.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ArtifactStore, createArtifactFolder } from '../../src/artifacts.js'
import type { Artifact, Step } from '../../src/job.js'
import { migrate } from '../../src/migrate/migrate.js'
import type { RunKey } from '../../src/pool/protocol.js'
import { openPostgresArtifacts } from '../../src/store/postgres/artifacts.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import { aJob, complete, NO_BOUNDS, RULES, T0, wholly } from '../store/suite/stage.js'
import { freshFolder } from '../support/folder.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'

/** One of them is empty. */
const CONTENTS = ['', 'short', 'grüße '.repeat(200_000)]
const JOBS = 3

describe.skipIf(postgresMissing !== null)(`artifacts that move (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let schemas = 0

  /** Jobs that left the files of CONTENTS, each. */
  async function withArtifacts() {
    const folder = freshFolder()
    const [file, dir] = [join(folder, 'jobs.db'), join(folder, 'artifacts')]
    const store = openSqliteStore(file, RULES)
    await store.submit(
      Array.from({ length: JOBS }, () => aJob()),
      NO_BOUNDS,
    )
    const { claimed } = await store.claim({ node: 'old', shares: [wholly('a')], slots: [1, 2, 3], now: T0 })
    const artifacts = CONTENTS.map((content, i): Artifact => {
      return { name: `${i}.txt`, bytes: Buffer.byteLength(content), content_type: 'text/plain' }
    })
    const step = { ...complete, artifacts } as Step
    await store.settle(claimed.map(({ id, run }) => ({ id, run, step, now: T0 + 1 })))
    await store.close()
    const path = (job: number, index: number) =>
      join(createArtifactFolder(dir).folder(claimed[job] as RunKey), String(index))
    for (let job = 0; job < JOBS; job += 1)
      for (const [index, content] of CONTENTS.entries()) {
        mkdirSync(dirname(path(job, index)), { recursive: true })
        writeFileSync(path(job, index), content)
      }
    return { file, dir, path, runs: claimed }
  }

  async function bring(file: string, from: string, to: string | null, schema = `artifacts_${++schemas}`) {
    const lines: string[] = []
    const tell = (line: string) => void lines.push(line)
    const done = await migrate({ from: file, source: server.url(), schema, artifacts: { from, to }, tell })
    return { ...done, schema, told: lines.at(-2) }
  }

  async function expectAll(store: ArtifactStore, runs: readonly RunKey[]): Promise<void> {
    onTestFinished(store.close)
    for (const run of runs)
      for (const [index, content] of CONTENTS.entries())
        if (content !== '')
          expect(await text(await store.stream(run, index, 0, Buffer.byteLength(content) - 1))).toBe(content)
  }
  const inDatabase = (schema: string) =>
    openPostgresArtifacts({ source: server.url(), schema, node: 'reads', dir: freshFolder() })

  test('are read from the database then', async () => {
    const { file, dir, runs } = await withArtifacts()
    const { artifacts, schema, told } = await bring(file, dir, null)
    expect([artifacts, told]).toEqual([9, `9 artifacts brought and compared, 0 were missing in ${dir}`])
    await expectAll(inDatabase(schema), runs)
  })

  test('are read from a folder then that nodes share; where it is the same, they stay in it', async () => {
    for (const to of [freshFolder(), null]) {
      const { file, dir, runs } = await withArtifacts()
      expect((await bring(file, dir, to ?? dir)).artifacts).toBe(to === null ? 0 : 9)
      await expectAll(createArtifactFolder(to ?? dir), runs)
    }
  })

  test('that have come may be gone from their folder: a node removes what the database has', async () => {
    const { file, dir } = await withArtifacts()
    const { schema } = await bring(file, dir, null)
    rmSync(dir, { recursive: true })
    expect(await bring(file, dir, null, schema)).toMatchObject({ brought: 0, artifacts: 0 })
  })

  test('that are missing are told; where none is there, it is another folder', async () => {
    const { file, dir, path } = await withArtifacts()
    await expect(bring(file, freshFolder(), null)).rejects.toThrow(
      /none of 9 artifacts is in .*: name their folder with --artifacts/,
    )
    // Nothing has begun: a node may start on the file.
    await openSqliteStore(file, RULES).close()
    rmSync(path(1, 2))
    const { artifacts, told } = await bring(file, dir, null)
    expect([artifacts, told]).toEqual([8, `8 artifacts brought and compared, 1 were missing in ${dir}`])
  })

  describe('cut off in the middle of one', () => {
    async function cutOff(schema: string) {
      const found = await withArtifacts()
      await (await openPostgresStore({ source: server.url(), schema, node: 'a', lease: 60_000 }, RULES)).close()
      await server.ask(`CREATE FUNCTION ${schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.n = 3 THEN RAISE 'no room'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON ${schema}.artifact_chunks FOR EACH ROW EXECUTE FUNCTION ${schema}.refuse()`)
      await expect(bring(found.file, found.dir, null, schema)).rejects.toThrow(/no room/)
      await server.ask(`DROP FUNCTION ${schema}.refuse CASCADE`)
      return found
    }

    test('they come whole when it goes on', async () => {
      const { file, dir, runs } = await cutOff('whole')
      expect((await bring(file, dir, null, 'whole')).artifacts).toBe(9)
      await expectAll(inDatabase('whole'), runs)
    })

    test('it is not finished where a byte has changed meanwhile', async () => {
      const { file, dir } = await cutOff('changed')
      await server.ask('UPDATE changed.artifact_chunks SET data = set_byte(data, 9, 0) WHERE n = 1')
      await expect(bring(file, dir, null, 'changed')).rejects.toThrow(/artifact 2 of job .* is not what it is in/)
    })
  })
})
