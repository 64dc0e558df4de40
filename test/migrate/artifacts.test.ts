// Artifacts come with their jobs, byte by byte; what is missing is told, and a folder without any is another one.
import { createReadStream, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createArtifactFolder } from '../../src/artifacts.js'
import type { Artifact, Step } from '../../src/job.js'
import { type ArtifactTarget, artifactFolder } from '../../src/migrate/artifacts.js'
import { migrate } from '../../src/migrate/migrate.js'
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
    const pathOf = (of: string, job: number, index: number) =>
      join(createArtifactFolder(of).folder(claimed[job] as never), String(index))
    for (let job = 0; job < JOBS; job += 1)
      for (const [index, content] of CONTENTS.entries()) {
        mkdirSync(dirname(pathOf(dir, job, index)), { recursive: true })
        writeFileSync(pathOf(dir, job, index), content)
      }
    return { file, dir, pathOf, there: join(folder, 'shared') }
  }

  async function bring(from: string, dir: string, target: ArtifactTarget, schema = `artifacts_${++schemas}`) {
    const lines: string[] = []
    const artifacts = { dir, target }
    const tell = (line: string) => void lines.push(line)
    return { ...(await migrate({ from, source: server.url(), schema, artifacts, tell })), lines }
  }

  test('are read from a shared folder then', async () => {
    const { file, dir, there, pathOf } = await withArtifacts()
    const { artifacts, lines } = await bring(file, dir, artifactFolder(there))
    expect(artifacts).toBe(JOBS * CONTENTS.length)
    expect(lines.at(-2)).toBe(`9 artifacts brought and compared; 0 were missing in ${dir}`)
    for (let job = 0; job < JOBS; job += 1)
      for (const [index, content] of CONTENTS.entries())
        expect(readFileSync(pathOf(there, job, index), 'utf8')).toBe(content)
  })

  test('that are missing are told; where none is there, it is another folder', async () => {
    const { file, dir, there, pathOf } = await withArtifacts()
    await expect(bring(file, freshFolder(), artifactFolder(there))).rejects.toThrow(
      /none of 9 artifacts is in .*: name their folder with --artifacts/,
    )
    rmSync(pathOf(dir, 1, 2))
    const { artifacts, lines } = await bring(file, dir, artifactFolder(there))
    expect(artifacts).toBe(8)
    expect(lines.at(-2)).toBe(`8 artifacts brought and compared; 1 were missing in ${dir}`)
  })

  test('that come cut off or changed are noticed, and come whole when it is done again', async () => {
    const { file, dir, there, pathOf } = await withArtifacts()
    const whole = artifactFolder(there)
    /** Its last byte is missing. */
    const bad: ArtifactTarget = {
      ...whole,
      async stream(run, index, start, end) {
        return index === 2
          ? createReadStream(pathOf(there, 0, 2), { start, end: end - 1 })
          : whole.stream(run, index, start, end)
      },
    }
    await expect(bring(file, dir, bad, 'again')).rejects.toThrow(/artifact 2 of job .* is not what it is in/)
    expect((await bring(file, dir, whole, 'again')).artifacts).toBe(9)
  })
})
