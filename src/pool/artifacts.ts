// The artifacts of one run, on the thread's side: files that are written as streams, whole and on disk before they count.
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import type { ArtifactOptions } from '../define-job.js'
import type { Artifact } from '../job.js'

export const MAX_ARTIFACTS = 100
const MAX_NAME_BYTES = 255
/** Room is asked for in steps of this, so that small writes do not each ask the main thread. */
const ROOM_STEP = 1_048_576
const BUFFER_BYTES = 65_536
/** RFC 6838 names, then parameters as RFC 9110 §5.6.6 has them. */
export const MEDIA_TYPE = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}(;[\t\x20-\x7e]{1,200})?$/

/** A big table, loaded by the first artifact: most threads never make one. */
const mimeTypes = (): typeof import('mime-types') => createRequire(import.meta.url)('mime-types')

export interface RunArtifacts {
  /** See `JobContext.artifact`. */
  open(name: string, options?: ArtifactOptions): Writable
  /** All of them, in the order of their making, once they are on disk. Rejects where one is not whole. */
  finish(): Promise<Artifact[]>
  /** Closes what is open: the run failed. Resolves when nothing is written any more. */
  abandon(): Promise<void>
}

interface OpenArtifact extends Artifact {
  stream: Writable
  failure: Error | null
}

/** `ask` answers how many of the wanted bytes the quota grants. File names are numbers, in the order of their making. */
export function createRunArtifacts(folder: string, ask: (bytes: number) => Promise<number>): RunArtifacts {
  const made = new Map<string, OpenArtifact>()
  let room = 0

  let ended = false
  let asking: Promise<void> = Promise.resolve()

  /** One after another: streams that write at once must not count the same room twice. */
  function take(bytes: number): Promise<void> {
    const taken = asking.then(async () => {
      if (room < bytes) {
        const granted = await ask(Math.max(bytes - room, ROOM_STEP))
        room += granted
      }
      if (room < bytes)
        throw artifactError('artifact_too_large', 'the artifacts of this job need more than the quota has')
      room -= bytes
    })
    asking = taken.catch(() => {})
    return taken
  }

  return {
    open(name, { content_type = mimeTypes().contentType(name) || 'application/octet-stream' } = {}) {
      if (ended) throw artifactError('artifact_failed', 'the run of this job is over')
      checkName(name)
      if (!MEDIA_TYPE.test(content_type)) throw artifactError('artifact_failed', 'content_type must be a media type')
      if (made.has(name)) throw artifactError('artifact_failed', `there is an artifact "${name}" already`)
      if (made.size === MAX_ARTIFACTS)
        throw artifactError('artifact_failed', `a job may make ${MAX_ARTIFACTS} artifacts`)
      const artifact = { name, content_type, bytes: 0, failure: null } as OpenArtifact
      artifact.stream = createFile(join(folder, String(made.size)), async (bytes) => {
        await take(bytes)
        artifact.bytes += bytes
      })
      // Told when the handler returns, or by what it awaits; alone it must not end the thread.
      artifact.stream.on('error', (error) => {
        artifact.failure = error
      })
      made.set(name, artifact)
      return artifact.stream
    },

    async finish() {
      ended = true
      if (made.size === 0) return []
      for (const artifact of made.values()) await whole(artifact)
      for (const level of [folder, dirname(folder), dirname(dirname(folder))]) await syncFolder(level)
      return [...made.values()].map(({ name, bytes, content_type }) => ({ name, bytes, content_type }))
    },

    async abandon() {
      ended = true
      for (const { stream } of made.values()) {
        if (stream.closed) continue
        const closed = new Promise((resolve) => stream.once('close', resolve))
        stream.destroy()
        await closed
      }
    },
  }
}

/** Thrown as its own kind: `code` becomes the code of the failed run. */
function artifactError(code: 'artifact_failed' | 'artifact_too_large', message: string): Error {
  return Object.assign(new Error(message), { code, retryable: false })
}

export function isArtifactName(name: string): boolean {
  if (name.length > MAX_NAME_BYTES || Buffer.byteLength(name) > MAX_NAME_BYTES) return false
  return name.isWellFormed() && !/^(|\.|\.\.)$|[/\\\p{Cc}]/u.test(name)
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !isArtifactName(name))
    throw artifactError(
      'artifact_failed',
      `the name of an artifact must be a file name of up to ${MAX_NAME_BYTES} bytes`,
    )
}

async function whole({ name, stream, failure }: OpenArtifact): Promise<void> {
  if (failure !== null) throw failure
  if (!stream.writableEnded)
    throw artifactError('artifact_failed', `the artifact "${name}" was not ended before the handler returned`)
  if (!stream.closed) await new Promise((resolve, reject) => stream.once('close', resolve).once('error', reject))
  // Destroyed after its end: what was written last may not be there.
  if (!stream.writableFinished) throw artifactError('artifact_failed', `the artifact "${name}" was cut off`)
}

function createFile(path: string, take: (bytes: number) => Promise<void>): Writable {
  let file: FileHandle | undefined
  const write = async (data: Buffer) => {
    await take(data.length)
    await file?.appendFile(data)
  }
  const step = (work: Promise<unknown>, done: (error?: Error) => void) => void work.then(() => done(), done)
  return new Writable({
    highWaterMark: BUFFER_BYTES,
    construct: (done) =>
      step(
        create(path).then((handle) => (file = handle)),
        done,
      ),
    write: (chunk: Buffer, _encoding, done) => step(write(chunk), done),
    writev: (chunks, done) => step(write(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer))), done),
    final: (done) => step(file?.sync() ?? Promise.resolve(), done),
    destroy: (error, done) => void (file?.close() ?? Promise.resolve()).then(() => done(error), done),
  })
}

async function create(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true })
  return open(path, 'wx')
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  await folder.sync().finally(() => folder.close())
}
