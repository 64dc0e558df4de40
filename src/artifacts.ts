// Artifacts on this machine's disk: a folder for each run, its files numbered in the order of their making.
import { open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { RunKey } from './pool/protocol.js'

export interface ArtifactFiles {
  /** Where that run writes its files. */
  folder(run: RunKey): string
  /** The bytes from `start` to `end`, both included, of the artifact at `index`. Rejects where the file is missing. */
  stream(run: RunKey, index: number, start: number, end: number): Promise<Readable>
  /** Up to `length` bytes from `start` on. */
  read(run: RunKey, index: number, start: number, length: number): Promise<Uint8Array>
  /** Resolves also where there is nothing to remove. */
  remove(run: RunKey): Promise<void>
  /** The runs that have a folder. */
  list(): AsyncIterable<RunKey>
}

/** Folders are spread over 256, by the last two digits of the job's id. */
export function createArtifactFiles(dir: string): ArtifactFiles {
  const folder = ({ id, run }: RunKey) => join(dir, id.slice(-2), `${id}.${run}`)
  const file = (run: RunKey, index: number) => join(folder(run), String(index))

  return {
    folder,
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
  }
}

/** Nothing is there before the first artifact. */
async function names(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}
