// Artifacts in PostgreSQL: what a run wrote into its folder is sent in chunks, and read on any node chunk by chunk.
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type ArtifactStore, createArtifactFolder } from '../../artifacts.js'
import type { RunKey } from '../../pool/protocol.js'
import { type ConnectionOptions, openConnection } from './connection.js'
import { noteRun, sweepLeftovers } from './leftovers.js'
import { reach } from './refusals.js'

/** Where a byte lies follows from it: it cannot change any more. */
const CHUNK_BYTES = 262_144

export interface PostgresArtifacts extends ArtifactStore {
  /**
   * Sends a file as the artifact `index` of a run that goes on, or that its job was completed by; chunks that are there
   * are not sent again. False: the run is another one, or its cancel was asked for.
   */
  put(run: RunKey, index: number, path: string): Promise<boolean>
  sweep(): Promise<boolean>
}

/** `dir` is a folder of this machine, in which runs write. */
export function openPostgresArtifacts({ dir, ...connection }: ConnectionOptions & { dir: string }): PostgresArtifacts {
  const { folder, remove, list } = createArtifactFolder(dir)
  // Neither waits for the other, nor do the writes of the store wait for them.
  const [db, reader] = [openConnection(connection), openConnection(connection)]
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let last: Promise<unknown> = Promise.resolve()

  /** One after another, a chunk at a time: many runs that end at once take the memory of one chunk, and the short do not wait for the long. */
  function turn<T>(work: () => Promise<T>): Promise<T> {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }

  async function put(run: RunKey, index: number, path: string): Promise<boolean> {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      for (let n = await turn(() => chunksOf(run, index)); n * CHUNK_BYTES < size; n += 1) {
        const length = Math.min(CHUNK_BYTES, size - n * CHUNK_BYTES)
        if (!(await turn(async () => send(run, index, n, await fill(file, n * CHUNK_BYTES, length))))) return false
      }
      return true
    } finally {
      await file.close()
    }
  }

  async function chunksOf({ id, run }: RunKey, index: number): Promise<number> {
    const text = `SELECT coalesce(max(n) + 1, 0) AS n FROM artifact_chunks WHERE id = $1 AND run = $2 AND file = $3`
    return (await reach(db.all<{ n: number }>(text, [id, run, index])))[0]?.n ?? 0
  }

  async function fill(file: FileHandle, start: number, length: number): Promise<Buffer> {
    const { bytesRead } = await file.read(chunk, 0, length, start)
    if (bytesRead < length) throw new Error(`a file of an artifact ends ${length - bytesRead} bytes too early`)
    return chunk.subarray(0, length)
  }

  /** Nobody ends the run before the chunk is written: whoever finds it over has all its chunks before him. */
  async function send({ id, run }: RunKey, index: number, n: number, data: Buffer): Promise<boolean> {
    const text = `INSERT INTO artifact_chunks SELECT id, run, $3::integer, $4::integer, $5::bytea FROM jobs
        WHERE id = $1 AND run = $2
          AND (status = 'completed' OR status = 'processing' AND cancel_requested_at IS NULL) FOR SHARE
      ON CONFLICT (id, run, file, n) DO UPDATE SET data = excluded.data`
    return (await reach(db.run(text, [id, run, index, n, data]))) === 1
  }

  /** To the end of a chunk at the most. */
  async function read({ id, run }: RunKey, index: number, start: number, length: number): Promise<Buffer> {
    const text = `SELECT substring(data FROM $5 FOR $6) AS piece FROM artifact_chunks
      WHERE id = $1 AND run = $2 AND file = $3 AND n = $4`
    const [n, skipped] = [Math.floor(start / CHUNK_BYTES), start % CHUNK_BYTES]
    const wanted = Math.min(length, CHUNK_BYTES - skipped)
    const [found] = await reach(reader.all<{ piece: Buffer }>(text, [id, run, index, n, skipped + 1, wanted]))
    if (found === undefined || found.piece.length === 0)
      throw new Error(`chunk ${n} of artifact ${index} of job ${id}, run ${run}, is not there`)
    return found.piece
  }

  /** The next one is read when the one before has been taken. */
  async function* piecesFrom(first: Buffer, run: RunKey, index: number, start: number, end: number) {
    yield first
    for (let at = start + first.length; at <= end; ) {
      const piece = await read(run, index, at, end - at + 1)
      yield piece
      at += piece.length
    }
  }

  return {
    folder,
    remove,
    list,
    put,

    async keep(run, artifacts) {
      await turn(() => reach(noteRun(db, run)))
      for (const index of artifacts.keys()) if (!(await put(run, index, join(folder(run), String(index))))) return
      // Before the outcome: what a crash leaves then is of a run that did not complete, and is looked for.
      await remove(run).catch(() => {})
    },

    async stream(run, index, start, end) {
      const first = await read(run, index, start, end - start + 1)
      return Readable.from(piecesFrom(first, run, index, start, end))
    },
    read,
    sweep: () => turn(() => reach(sweepLeftovers(db))),
    async close() {
      await Promise.all([db.close(), reader.close()])
    },
  }
}
