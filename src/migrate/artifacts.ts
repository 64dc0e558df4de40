// Artifacts: files in a folder, brought to where nodes on PostgreSQL read them, and compared there.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type BetterSqlite3 from 'better-sqlite3'
import { type ArtifactStore, createArtifactFolder } from '../artifacts.js'
import type { RunKey } from '../pool/protocol.js'
import { StoreOpenError } from '../store/open-error.js'
import { openPostgresArtifacts } from '../store/postgres/artifacts.js'
import type { ConnectionOptions } from '../store/postgres/connection.js'

export interface ArtifactTarget extends Pick<ArtifactStore, 'stream' | 'close'> {
  /** Takes a file as the artifact `index` of a run, also where it, or a part of it, has come before. False: it does not. */
  put(run: RunKey, index: number, path: string): Promise<boolean>
}

/** The database of that connection, or a folder that all nodes share. */
export function openTarget(connection: ConnectionOptions, shared: string | null): ArtifactTarget {
  // Nothing runs here that would write into a folder.
  if (shared === null) return openPostgresArtifacts({ ...connection, dir: '' })
  const { folder, stream, close } = createArtifactFolder(shared)
  return {
    stream,
    close,
    async put(run, index, path) {
      await mkdir(folder(run), { recursive: true })
      await copyFile(path, join(folder(run), String(index)))
      return true
    },
  }
}

interface ArtifactFile {
  run: RunKey
  index: number
  path: string
  /** Null: it is missing. */
  bytes: number | null
}

const STEP = 500

/** Those of all jobs, in the order of their ids. */
async function* filesOf(file: BetterSqlite3.Database, dir: string): AsyncGenerator<ArtifactFile> {
  const { folder } = createArtifactFolder(dir)
  const select = file.prepare<[string], RunKey & { n: number }>(
    `SELECT id, run, json_array_length(artifacts) AS n FROM jobs
     WHERE artifacts IS NOT NULL AND id > ? ORDER BY id LIMIT ${STEP}`,
  )
  for (let jobs = select.all(''); jobs.length > 0; jobs = select.all(jobs.at(-1)?.id ?? '')) {
    for (const { id, run, n } of jobs) {
      for (let index = 0; index < n; index += 1) {
        const path = join(folder({ id, run }), String(index))
        yield { run: { id, run }, index, path, bytes: await sizeOf(path) }
      }
    }
  }
}

const sizeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  )

/**
 * Tells how many are missing in `dir`.
 *
 * @throws StoreOpenError where none is there: it is another folder
 */
export async function findArtifacts(file: BetterSqlite3.Database, dir: string): Promise<number> {
  const counts = { files: 0, missing: 0 }
  for await (const { bytes } of filesOf(file, dir)) {
    counts.files += 1
    if (bytes === null) counts.missing += 1
  }
  if (counts.missing > 0 && counts.missing === counts.files)
    throw new StoreOpenError(`none of ${counts.files} artifacts is in ${dir}: name their folder with --artifacts`)
  return counts.missing
}

/** Answers how many were brought. `tell` is told after each. */
export async function copyArtifacts(
  file: BetterSqlite3.Database,
  dir: string,
  target: ArtifactTarget,
  tell: () => void,
): Promise<number> {
  let brought = 0
  for await (const { run, index, path, bytes } of filesOf(file, dir)) {
    if (bytes === null) continue
    if (!(await target.put(run, index, path)) || !(await isSame(target, { run, index, path, bytes })))
      throw new StoreOpenError(`artifact ${index} of job ${run.id} is not what it is in ${path}: ${again}`)
    brought += 1
    tell()
  }
  return brought
}

const again = 'drop the schema, and run jobmill migrate again'

async function isSame(target: ArtifactTarget, { run, index, path, bytes }: ArtifactFile): Promise<boolean> {
  if (bytes === null || bytes === 0) return true
  return (await hashOf(createReadStream(path))) === (await hashOf(await target.stream(run, index, 0, bytes - 1)))
}

async function hashOf(bytes: NodeJS.ReadableStream): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(bytes, hash)
  return hash.digest('hex')
}
