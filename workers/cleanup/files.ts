// Old files under the configured roots, and the folders that are left empty: by real path, never through a link.
import { lstatSync, opendirSync, rmdirSync, type Stats, unlinkSync } from 'node:fs'
import { parse } from 'node:path'
import { NonRetryableError } from '../../src/define-job.js'
import { type Folder, type OpenFolder, openFolder, realPath } from './folder.js'
import type { Task } from './meter.js'

/** Each level of folders holds two descriptors open. */
const MAX_DEPTH = 100
const MAX_SAMPLES = 10

interface FilesResult {
  deleted: number
  folders: number
  /** What the disk gets back: a file with further links frees nothing. */
  bytes: number
  /** Links, pipes, sockets, devices, other file systems, folders too deep or moved away meanwhile. */
  skipped: number
  errors: number
  error_samples: { root: string; path: string; code: string }[]
}

export async function cleanFiles(
  roots: string[],
  resolve: (path: string) => string,
  task: Task,
  open: OpenFolder = openFolder,
): Promise<FilesResult> {
  const result: FilesResult = { deleted: 0, folders: 0, bytes: 0, skipped: 0, errors: 0, error_samples: [] }
  const linksMet = new Map<string, number>()
  const named = roots.map((root) => ({ root, real: realRoot(root, resolve, result) }))
  const reals = new Set(named.map(({ real }) => real))
  for (const [i, { root, real }] of named.entries()) {
    // The same folder under two names is one root.
    const isFirst = named.findIndex((other) => other.real === real) === i
    if (real !== null && isFirst) await cleanRoot({ root, real, roots: reals, linksMet, result, open, ...task })
    await task.meter.unit()
  }
  return result
}

/** A root that is a link is followed here, once. Null where there is none. */
function realRoot(root: string, resolve: (path: string) => string, result: FilesResult): string | null {
  try {
    const real = realPath(resolve(root))
    if (real === parse(real).root) throw new NonRetryableError(`jobs.cleanup.roots: "${root}" is the whole file system`)
    return real
  } catch (error) {
    noteError(result, root, '.', error)
    return null
  }
}

interface Walk extends Task {
  /** As it stands in the configuration. */
  root: string
  real: string
  /** All roots by real path: none is deleted, and one inside another is a walk of its own. */
  roots: ReadonlySet<string | null>
  /** Files with several links, by device and inode: how many of them a dry run has met, since it takes none away. */
  linksMet: Map<string, number>
  result: FilesResult
  open: OpenFolder
}

async function cleanRoot({ root, real, roots, linksMet, result, open, before, dry_run, meter }: Walk): Promise<void> {
  let share = 0
  let dev: number | undefined

  try {
    const top = open(real)
    dev = top.dev
    await closing(top, () => cleanFolder(top, 0, 1))
  } catch (error) {
    noteError(result, root, '.', error)
  }

  /** Deletes what is old in it and returns whether nothing is left. It is worth `worth` of the root's progress. */
  async function cleanFolder(folder: Folder, depth: number, worth: number): Promise<boolean> {
    const end = share + worth
    const entries = await countEntries(folder)
    let empty = true
    for (const name of namesIn(folder)) {
      if (!folder.inPlace()) {
        result.skipped += 1
        return false
      }
      const gone = await attempt(relative(folder, name), () => cleanEntry(folder, name, depth, worth / entries))
      empty &&= gone
      await meter.step(Math.min(share, 1))
    }
    share = end
    return empty
  }

  async function countEntries(folder: Folder): Promise<number> {
    let count = 0
    for (const _ of namesIn(folder)) {
      count += 1
      await meter.step(Math.min(share, 1))
    }
    return count
  }

  /** Returns whether it is gone. */
  async function cleanEntry(folder: Folder, name: string, depth: number, worth: number): Promise<boolean> {
    const stat = lstatSync(folder.at(name))
    if (stat.isDirectory()) return cleanSubfolder(folder, name, depth + 1, worth)
    share += worth
    if (!stat.isFile()) {
      result.skipped += 1
      return false
    }
    if (stat.mtimeMs >= before) return false
    // Nothing comes between the look at the file and this: what takes its name in between would be lost.
    if (!dry_run) unlinkSync(folder.at(name))
    const size = freed(stat)
    result.deleted += 1
    result.bytes += size
    meter.add('files', 1, size)
    return true
  }

  function freed({ nlink, dev, ino, size }: Stats): number {
    if (nlink === 1 || !dry_run) return nlink === 1 ? size : 0
    const file = `${dev}:${ino}`
    const met = (linksMet.get(file) ?? 0) + 1
    linksMet.set(file, met)
    return met === nlink ? size : 0
  }

  async function cleanSubfolder(parent: Folder, name: string, depth: number, worth: number): Promise<boolean> {
    const end = share + worth
    const folder = parent.open(name)
    const empty = await closing(folder, async () => {
      if (roots.has(folder.path)) return false
      if (folder.dev === dev && depth <= MAX_DEPTH) return cleanFolder(folder, depth, worth)
      result.skipped += 1
      return false
    })
    share = end
    // Its time from before the work: deleting its entries made it new.
    if (!empty || folder.mtimeMs >= before || !parent.inPlace()) return false
    if (!dry_run && !removed(parent, name)) return false
    result.folders += 1
    meter.add('folders', 1)
    return true
  }

  /** Does `act`; an error of the file system is counted, and the rest goes on. Returns whether the entry is gone. */
  async function attempt(path: string, act: () => Promise<boolean>): Promise<boolean> {
    try {
      return await act()
    } catch (error) {
      const code = errno(error)
      if (code === 'ENOENT') return true
      // A folder that has become a link since it was looked at.
      if (code === 'ENOTDIR' || code === 'ELOOP') result.skipped += 1
      else noteError(result, root, path, error)
      return false
    }
  }

  function relative(folder: Folder, name: string): string {
    return Buffer.from(`${folder.path}/${name}`.slice(real.length + 1), 'latin1').toString()
  }
}

async function closing<T>(folder: Folder, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } finally {
    folder.close()
  }
}

/** A few at a time: a folder may have more than fits into memory. */
function* namesIn(folder: Folder): Generator<string> {
  // The types of Node know this encoding for readdir only.
  const entries = opendirSync(folder.at(), { encoding: 'buffer' as BufferEncoding })
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync())
      yield Buffer.from(entry.name).toString('latin1')
  } finally {
    entries.closeSync()
  }
}

function removed(parent: Folder, name: string): boolean {
  try {
    rmdirSync(parent.at(name))
    return true
  } catch (error) {
    // Something new has come into it meanwhile.
    if (['ENOTEMPTY', 'EEXIST'].includes(errno(error) ?? '')) return false
    throw error
  }
}

/** @throws `error` where it does not come from the file system */
function noteError(result: FilesResult, root: string, path: string, error: unknown): void {
  const code = errno(error)
  if (code === null) throw error
  result.errors += 1
  if (result.error_samples.length < MAX_SAMPLES) result.error_samples.push({ root, path, code })
}

function errno(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : null
}
