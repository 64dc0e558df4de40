// Where artifacts are kept. Runs write them into a folder of this machine; there they stay, or the database takes them.
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Artifact } from './job.js'
import type { RunKey } from './pool/protocol.js'
import { StoreOpenError } from './store/open-error.js'

/** The artifacts of a run are numbered in the order of their making: `index` is that number. */
export interface ArtifactStore {
  /** Where that run writes its files. */
  folder(run: RunKey): string
  /**
   * Takes what the run made to where every node reads it: asked before its outcome is stored. Where the run is over
   * already it is left. Rejects with the ServiceErrors of a write to the store: then it goes on where it was when it is
   * asked again.
   */
  keep(run: RunKey, artifacts: readonly Artifact[]): Promise<void>
  /** The bytes from `start` to `end`, both included. Rejects where they are missing; the stream fails where they go missing. */
  stream(run: RunKey, index: number, start: number, end: number): Promise<Readable>
  /** Up to `length` bytes from `start` on. */
  read(run: RunKey, index: number, start: number, length: number): Promise<Uint8Array>
  /** Removes the folder of a run. Resolves also where there is none. */
  remove(run: RunKey): Promise<void>
  /** The runs that have a folder. */
  list(): AsyncIterable<RunKey>
  /**
   * Removes a bounded piece of what counts no more and tells whether there is further work; safe on any node at any
   * time. Null: artifacts stay in their folders, and who removes those removes all.
   */
  sweep: (() => Promise<boolean>) | null
  close(): Promise<void>
}

/** Folders are spread over 256, by the last two digits of the job's id. */
export function createArtifactFolder(dir: string): ArtifactStore {
  const folder = ({ id, run }: RunKey) => join(dir, id.slice(-2), `${id}.${run}`)
  const file = (run: RunKey, index: number) => join(folder(run), String(index))

  return {
    folder,
    async keep() {},

    async stream(run, index, start, end) {
      const handle = await open(file(run, index), 'r')
      return handle.createReadStream({ start, end })
    },

    async read(run, index, start, length) {
      const handle = await open(file(run, index), 'r')
      try {
        const { buffer, bytesRead } = await handle.read(new Uint8Array(length), 0, length, start)
        return buffer.subarray(0, bytesRead)
      } finally {
        await handle.close()
      }
    },

    remove: (run) => rm(folder(run), { recursive: true, force: true }),

    async *list() {
      for (const shard of await names(dir)) {
        for (const name of await names(join(dir, shard))) {
          const [, id, run] = /^([\w-]+)\.(\d+)$/.exec(name) ?? []
          if (id !== undefined) yield { id, run: Number(run) }
        }
      }
    },

    sweep: null,
    async close() {},
  }
}

/** Nothing is there before the first artifact. */
async function names(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}

/** In the folder: whose it is. */
const OWNER = '.service'

/**
 * A service removes what it does not know from its folder. So the folder is that of the first service that comes, and of
 * no other one while there are files of runs.
 *
 * @throws StoreOpenError where it is another service's
 */
export async function ownFolder(dir: string, service: string): Promise<void> {
  const path = join(dir, OWNER)
  try {
    await mkdir(dir, { recursive: true })
    await writeFile(path, service, { flag: 'wx' })
  } catch (error) {
    // What cannot be written has nothing removed either.
    if (Object(error).code !== 'EEXIST') return
    const owner = await readFile(path, 'utf8')
    if (owner === service) return
    if (owner !== '' && (await isUsed(dir)))
      throw new StoreOpenError(
        `data.artifacts.dir ${dir} has the artifacts of another jobmill, which this one would remove: give each one a ` +
          `folder of its own, or delete ${path} where they are not wanted any more`,
      )
    await writeFile(path, service)
  }
}

async function isUsed(dir: string): Promise<boolean> {
  for await (const _ of createArtifactFolder(dir).list()) return true
  return false
}
