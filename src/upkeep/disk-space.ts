// Watches the free space of the disks, and keeps a ballast: a file that is given up when the database meets a full disk.
import { randomBytes } from 'node:crypto'
import { existsSync, realpathSync, rmSync } from 'node:fs'
import { rm, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { ServiceError } from '../errors.js'
import type { EventBus } from '../events.js'
import { every, type Loop } from './every.js'

export interface DiskSpace extends Pick<Loop, 'within'> {
  /** Resolves when the ballast is there, if there is room for it, and free space was looked at. */
  start(): Promise<void>
  /** Resolves when nothing is written any more. The ballast stays. */
  stop(): Promise<void>
  /** Why no submission is taken now, or null: the room that the ballast made is for what was accepted before. */
  refusal(): ServiceError | null
  /** Why no artifact may grow now, or null: on the disk of the database it would take that room. */
  artifactRefusal(): ServiceError | null
  /** What the disks lack, in a sentence without a path, or null. */
  trouble(): string | null
}

export interface DiskSpaceOptions {
  bus: EventBus
  /** The file of the database; the ballast lies beside it. Null: it is on another machine, whose disk is its own affair. */
  database: string | null
  /** The folder of the artifacts, which need not exist yet. */
  artifacts: string
  /** Bytes. 0: there is none. */
  ballast: number
  /** Bytes that are to be free. 0: any. */
  min_free: number
}

const WELL_REST_MS = 5_000
const ILL_REST_MS = 1_000
const CHUNK_BYTES = 1_048_576

const random = promisify(randomBytes)

const ROLES = ['database', 'artifacts'] as const
type Role = (typeof ROLES)[number]

const SPENT = 'the disk of the database was full: nothing new is taken until there is room for the ballast again'

export function createDiskSpace({ bus, database, artifacts, min_free, ...options }: DiskSpaceOptions): DiskSpace {
  const file = database === null ? '' : beside(database)
  const ballast = database === null ? 0 : options.ballast
  const folders = { database: database === null ? artifacts : dirname(file), artifacts }
  const watched = ROLES.filter((role) => role !== 'database' || database !== null)
  const free = { database: Number.POSITIVE_INFINITY, artifacts: Number.POSITIVE_INFINITY }
  const low = { database: false, artifacts: false }
  let one_disk = true
  /** `missing`: there was no room for it at the start. `spent`: it was given up, and no other was made yet. */
  let state: 'kept' | 'missing' | 'spent' = ballast === 0 ? 'kept' : 'missing'
  /** Ends a making that is under way. */
  let making = new AbortController()
  const loop = every('disk-space', bus, pass, ILL_REST_MS)

  bus.subscribe((event) => {
    if (event.kind === 'disk_full' && ballast > 0) spend()
  })

  const tell = (well: boolean, message: string) => bus.publish({ kind: 'disk_space', well, message })

  /** At once, since whoever met the full disk writes again soon. */
  function spend(): void {
    making.abort()
    const problem = removeNow(file)
    if (state !== 'spent') tell(false, problem === null ? SPENT : `${SPENT}; it cannot be removed (${problem})`)
    state = 'spent'
    loop.within(ILL_REST_MS)
  }

  async function pass(): Promise<number> {
    await measure()
    // What goes wrong with it was told when it went missing.
    if (state !== 'kept' && free.database >= 2 * ballast + min_free) await make().catch(() => {})
    return trouble() === null ? WELL_REST_MS : ILL_REST_MS
  }

  async function measure(): Promise<void> {
    const disks = { database: await diskOf(folders.database), artifacts: await diskOf(folders.artifacts) }
    one_disk = disks.database.dev === disks.artifacts.dev
    for (const role of watched) {
      const was_low = low[role]
      free[role] = disks[role].free
      low[role] = free[role] < min_free
      if (low[role] !== was_low) tell(was_low, was_low ? `the disk of the ${role} has room again` : lackOf(role))
    }
  }

  const lackOf = (role: Role) =>
    `the disk of the ${role} has ${free[role]} bytes free, less than data.min_free of ${min_free}`

  function trouble(): string | null {
    const lacks = watched.filter((role) => low[role]).map(lackOf)
    if (state === 'spent') lacks.unshift(SPENT)
    return lacks.length === 0 ? null : lacks.join('; ')
  }

  const refusal = () => (state === 'spent' ? new ServiceError('storage_full', SPENT) : null)

  /** A ballast of another size is that of another setting, or was cut off by a crash. */
  async function adopt(): Promise<void> {
    if (state === 'spent') return
    if (database === null) return measure()
    const found = await stat(file).catch(() => null)
    if (found?.size === ballast) state = 'kept'
    else await rm(file, { force: true })
    await measure()
    if (state !== 'missing') return
    // One that leaves no room for a second is better than none: what it is for may come soon.
    if (free.database < ballast) throw new Error(`the disk of the database has ${free.database} bytes free`)
    await make()
  }

  async function make(): Promise<void> {
    making = new AbortController()
    const { signal } = making
    try {
      await writeFile(file, randomChunks(ballast), { signal, flush: true })
      signal.throwIfAborted()
      state = 'kept'
    } catch (error) {
      removeNow(file)
      throw error
    }
    tell(true, `the disk of the database has a ballast of ${ballast} bytes`)
  }

  return {
    within: loop.within,
    async start() {
      await adopt().catch((error: unknown) => {
        tell(false, `goes on without the ballast of ${ballast} bytes: ${messageOf(error)}`)
      })
      loop.start()
    },
    async stop() {
      making.abort()
      await loop.stop()
    },
    refusal,
    artifactRefusal: () => (one_disk ? refusal() : null),
    trouble,
  }
}

/** A link to the database may lead to another disk. */
function beside(database: string): string {
  return `${existsSync(database) ? realpathSync(database) : database}.ballast`
}

/** Random, so that no file system makes them smaller than they are. */
async function* randomChunks(bytes: number): AsyncGenerator<Buffer> {
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) yield await random(Math.min(left, CHUNK_BYTES))
}

/** The disk that the folder is on, or would be on. */
async function diskOf(folder: string): Promise<{ dev: number; free: number }> {
  try {
    const [{ dev }, { bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)])
    return { dev, free: bavail * bsize }
  } catch (error) {
    const parent = dirname(folder)
    if (parent === folder || !isMissing(error)) throw error
    return diskOf(parent)
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** Answers what went wrong. */
function removeNow(file: string): string | null {
  try {
    rmSync(file, { force: true })
    return null
  } catch (error) {
    return messageOf(error)
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
