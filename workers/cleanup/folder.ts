// Folders that stay the ones that were opened, whatever happens to their names meanwhile.
import { closeSync, constants, existsSync, fstatSync, lstatSync, openSync, readlinkSync, realpathSync } from 'node:fs'
import { sep } from 'node:path'

/** Names and paths are latin1 texts, a character for each byte: not every name on a disk is UTF-8. */
export interface Folder {
  /** Its real path when it was opened. */
  readonly path: string
  readonly dev: number
  readonly mtimeMs: number
  /** What to call the file system with: the folder, or an entry of it. */
  at(name?: string): Buffer
  /** Whether it still lies where it was opened: what was moved out of a root is none of ours any more. */
  inPlace(): boolean
  /** @throws ENOTDIR, ELOOP where the entry is no folder, a link to one included */
  open(name: string): Folder
  close(): void
}

/** Opens a real path. */
export type OpenFolder = (path: string) => Folder

const DESCRIPTORS = '/proc/self/fd'

export const openFolder: OpenFolder = existsSync(DESCRIPTORS) ? openByDescriptor : openByPath

/**
 * Entries are reached through the descriptor of their folder: no swap of a folder for a link changes what that is, and
 * the last part of a path is never followed, neither here nor by unlink and rmdir.
 */
function openByDescriptor(path: string, through = bytes(path)): Folder {
  const fd = openSync(through, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  const { dev, mtimeMs } = fstatSync(fd)
  const at = (name?: string) => bytes(name === undefined ? `${DESCRIPTORS}/${fd}` : `${DESCRIPTORS}/${fd}/${name}`)
  const own = at()
  return {
    path,
    dev,
    mtimeMs,
    at,
    inPlace: () => readlinkSync(own, 'latin1') === path,
    open: (name) => openByDescriptor(below(path, name), at(name)),
    close: () => closeSync(fd),
  }
}

/**
 * For systems without /proc: a folder that is swapped for a link is seen by its real path, asked for right before each
 * deletion. Between the two calls remains a window of microseconds; it is small, not closed.
 */
export function openByPath(path: string): Folder {
  const own = bytes(path)
  const stat = lstatSync(own)
  if (!stat.isDirectory()) throw Object.assign(new Error(`not a folder: ${path}`), { code: 'ENOTDIR' })
  return {
    path,
    dev: stat.dev,
    mtimeMs: stat.mtimeMs,
    at: (name) => (name === undefined ? own : bytes(below(path, name))),
    inPlace: () => realPath(own) === path,
    open: (name) => openByPath(below(path, name)),
    close: () => {},
  }
}

/** @throws ENOENT, EACCES, … */
export function realPath(path: string | Buffer): string {
  return realpathSync.native(path, 'latin1')
}

function below(path: string, name: string): string {
  return path.endsWith(sep) ? path + name : path + sep + name
}

function bytes(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}
