// The files that `cleanup` deletes and those it leaves: real folders, links, pipes and sockets.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join, relative } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type JobContext, NonRetryableError } from '../../src/define-job.js'
import { cleanFiles } from '../../workers/cleanup/files.js'
import { openByPath, openFolder } from '../../workers/cleanup/folder.js'
import { createMeter } from '../../workers/cleanup/meter.js'
import { freshFolder } from '../support/folder.js'

const DAY = 86_400
const NOW = Math.floor(Date.now() / 1_000)
const BEFORE = (NOW - 30 * DAY) * 1_000

const NOTHING = { deleted: 0, folders: 0, bytes: 0, skipped: 0, errors: 0, error_samples: [] }

interface Options extends Partial<Pick<JobContext, 'signal' | 'progress'>> {
  dry_run?: boolean
  open?: typeof openFolder
}

/** Cleans `roots` of `folder` of what is older than 30 days. */
function clean(folder: string, roots: string[], { dry_run = false, open, ...ctx }: Options = {}) {
  const meter = createMeter({ signal: new AbortController().signal, progress: async () => {}, ...ctx }, roots.length)
  return cleanFiles(roots, (root) => join(folder, root), { before: BEFORE, dry_run, meter }, open)
}

function age(path: string, days: number): void {
  utimesSync(path, NOW - days * DAY, NOW - days * DAY)
}

/** All that lies below `folder`. Not readdir's `recursive`: Node 24 goes through links. */
function below(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? [path, ...below(path)] : [path]
  })
}

function names(folder: string): string[] {
  return below(folder)
    .map((path) => relative(folder, path))
    .sort()
}

/** Makes all below `folder`, and itself, `days` old: links stay as they are. */
function ageAll(folder: string, days = 90): void {
  for (const path of below(folder)) if (!lstatSync(path).isSymbolicLink()) age(path, days)
  age(folder, days)
}

/** All below `folder` with contents and times: what may not change under a dry run. */
function everything(folder: string): string[] {
  return below(folder)
    .map((path) => {
      const stat = lstatSync(path)
      const content = stat.isFile() ? readFileSync(path, 'utf8') : stat.isSymbolicLink() ? readlinkSync(path) : ''
      return `${relative(folder, path)} ${stat.mode} ${stat.mtimeMs} ${content}`
    })
    .sort()
}

function manyFiles(folder: string, count: number): void {
  mkdirSync(folder, { recursive: true })
  for (let i = 0; i < count; i += 1) {
    const path = join(folder, `file-${i}`)
    writeFileSync(path, 'x')
    age(path, 90)
  }
}

describe.each([
  ['through descriptors', openFolder],
  ['by path, as where there is no /proc', openByPath],
])('files, %s', (_, open) => {
  test('that are older go, younger ones stay, at any depth', async () => {
    const folder = freshFolder({
      'root/old.log': 'twelve bytes',
      'root/new.log': 'x',
      'root/a/b/old': 'ab',
      'root/a/new': 'x',
    })
    age(join(folder, 'root/old.log'), 31)
    age(join(folder, 'root/new.log'), 29)
    age(join(folder, 'root/a/b/old'), 31)
    expect(await clean(folder, ['root'], { open })).toEqual({ ...NOTHING, deleted: 2, bytes: 14 })
    expect(names(join(folder, 'root'))).toEqual(['a', 'a/b', 'a/new', 'new.log'])
  })

  test('of just the age stay: older means before', async () => {
    const folder = freshFolder({ 'root/just': 'x', 'root/before': 'x' })
    age(join(folder, 'root/just'), 30)
    utimesSync(join(folder, 'root/before'), NOW, NOW - 30 * DAY - 1)
    expect(await clean(folder, ['root'], { open })).toMatchObject({ deleted: 1 })
    expect(names(join(folder, 'root'))).toEqual(['just'])
  })

  test('take their folders with them where those are old and empty now, and never a root', async () => {
    const folder = freshFolder({ 'root/a/b/c/old': 'x', 'root/kept/new': 'x', 'root/kept/old': 'x' })
    mkdirSync(join(folder, 'root/empty'))
    mkdirSync(join(folder, 'root/young/empty'), { recursive: true })
    ageAll(join(folder, 'root'))
    for (const young of ['kept/new', 'young', 'young/empty']) age(join(folder, 'root', young), 1)
    expect(await clean(folder, ['root'], { open })).toEqual({ ...NOTHING, deleted: 2, folders: 4, bytes: 2 })
    expect(names(join(folder, 'root'))).toEqual(['kept', 'kept/new', 'young', 'young/empty'])
  })

  test('leave nothing to do for a second run', async () => {
    const folder = freshFolder({ 'root/a/old': 'x', 'root/b/old': 'x', 'root/b/new': 'x' })
    ageAll(join(folder, 'root'))
    age(join(folder, 'root/b/new'), 1)
    expect(await clean(folder, ['root'], { open })).toEqual({ ...NOTHING, deleted: 2, folders: 1, bytes: 2 })
    expect(await clean(folder, ['root'], { open })).toEqual(NOTHING)
  })

  test('of a dry run are counted as they would go, and nothing changes', async () => {
    const folder = freshFolder({ 'root/a/b/old': 'four', 'root/a/new': 'x', 'root/c/d/old': 'x', 'outside/f': 'x' })
    linkSync(join(folder, 'root/a/b/old'), join(folder, 'root/c/second-name'))
    linkSync(join(folder, 'outside/f'), join(folder, 'root/shared'))
    symlinkSync('old', join(folder, 'root/a/b/link'))
    ageAll(join(folder, 'root'))
    age(join(folder, 'root/a/new'), 1)
    const before = everything(folder)
    const expected = { ...NOTHING, deleted: 4, folders: 2, bytes: 5, skipped: 1 }
    expect(await clean(folder, ['root'], { open, dry_run: true })).toEqual(expected)
    expect(everything(folder)).toEqual(before)
    expect(await clean(folder, ['root'], { open })).toEqual(expected)
  })

  test('behind links are not reached, and links stay', async () => {
    const folder = freshFolder({ 'root/old': 'x', 'outside/old': 'precious' })
    ageAll(join(folder, 'outside'))
    symlinkSync(join(folder, 'outside'), join(folder, 'root/to-folder'))
    symlinkSync(join(folder, 'outside/old'), join(folder, 'root/to-file'))
    symlinkSync('nowhere', join(folder, 'root/broken'))
    symlinkSync('.', join(folder, 'root/circle'))
    for (const link of ['to-folder', 'to-file', 'broken', 'circle'])
      execFileSync('touch', ['-h', '-d', '2001-01-01', join(folder, 'root', link)])
    age(join(folder, 'root/old'), 90)
    expect(await clean(folder, ['root'], { open })).toEqual({ ...NOTHING, deleted: 1, bytes: 1, skipped: 4 })
    expect(names(join(folder, 'root'))).toEqual(['broken', 'circle', 'to-file', 'to-folder'])
    expect(readFileSync(join(folder, 'outside/old'), 'utf8')).toBe('precious')
  })

  test('that are pipes or sockets are skipped, without waiting for anybody at their other end', async () => {
    const folder = freshFolder({ 'root/old': 'x' })
    execFileSync('mkfifo', [join(folder, 'root/pipe')])
    const server = createServer().listen(join(folder, 'root/socket'))
    await new Promise((resolve) => server.once('listening', resolve))
    onTestFinished(() => void server.close())
    ageAll(join(folder, 'root'))
    expect(await clean(folder, ['root'], { open })).toEqual({ ...NOTHING, deleted: 1, bytes: 1, skipped: 2 })
    expect(names(join(folder, 'root'))).toEqual(['pipe', 'socket'])
  })

  test('of a folder that is moved out of the root meanwhile stay', async () => {
    const folder = freshFolder({ 'outside/placeholder': '' })
    manyFiles(join(folder, 'root/sub'), 6_000)
    let left: number | null = null
    const progress = async () => {
      if (left !== null || readdirSync(join(folder, 'root/sub')).length === 6_000) return
      renameSync(join(folder, 'root/sub'), join(folder, 'outside/sub'))
      left = readdirSync(join(folder, 'outside/sub')).length
    }
    const { deleted, folders } = await clean(folder, ['root'], { open, progress })
    expect(left).toBeGreaterThan(0)
    expect(readdirSync(join(folder, 'outside/sub'))).toHaveLength(left ?? 0)
    expect({ deleted, folders }).toEqual({ deleted: 6_000 - (left ?? 0), folders: 0 })
  })
})

describe('a root', () => {
  test('that is a link is followed once, and the link stays', async () => {
    const folder = freshFolder({ 'real/old': 'x' })
    symlinkSync('real', join(folder, 'root'))
    ageAll(join(folder, 'real'))
    expect(await clean(folder, ['root'])).toEqual({ ...NOTHING, deleted: 1, bytes: 1 })
    expect(readlinkSync(join(folder, 'root'))).toBe('real')
    expect(names(join(folder, 'real'))).toEqual([])
  })

  test('inside another is cleaned once and not deleted; neither is one that is named twice', async () => {
    const folder = freshFolder({ 'root/inner/a/old': 'x', 'root/old': 'x' })
    symlinkSync('root', join(folder, 'again'))
    ageAll(join(folder, 'root'))
    const roots = ['root', 'root/inner', 'again', 'root']
    const expected = { ...NOTHING, deleted: 2, folders: 1, bytes: 2 }
    expect(await clean(folder, roots, { dry_run: true })).toEqual(expected)
    expect(await clean(folder, roots)).toEqual(expected)
    expect(names(join(folder, 'root'))).toEqual(['inner'])
  })

  test.each([
    ['is not there', 'missing', 'ENOENT'],
    ['is a file', 'file', 'ENOTDIR'],
    ['is a link that leads nowhere', 'broken', 'ENOENT'],
  ])('that %s is an error in the result, and the others are cleaned', async (_, root, code) => {
    const folder = freshFolder({ file: 'x', 'root/old': 'x' })
    symlinkSync('nowhere', join(folder, 'broken'))
    age(join(folder, 'file'), 90)
    age(join(folder, 'root/old'), 90)
    const result = await clean(folder, [root, 'root'])
    expect(result).toEqual({ ...NOTHING, deleted: 1, bytes: 1, errors: 1, error_samples: [{ root, path: '.', code }] })
    expect(existsSync(join(folder, 'file'))).toBe(true)
  })

  test('that turns out to be the whole file system ends the job before anything is deleted', async () => {
    const folder = freshFolder({ 'root/old': 'x' })
    symlinkSync('/', join(folder, 'link'))
    age(join(folder, 'root/old'), 90)
    const running = clean(folder, ['root', 'link'])
    await expect(running).rejects.toThrow('jobs.cleanup.roots: "link" is the whole file system')
    await expect(running).rejects.toBeInstanceOf(NonRetryableError)
    expect(names(join(folder, 'root'))).toEqual(['old'])
  })
})

describe('an entry', () => {
  test('on another file system is skipped', async ({ skip }) => {
    const folder = freshFolder({ 'root/old': 'x' })
    const mounted = join(folder, 'root/mounted')
    mkdirSync(mounted)
    try {
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mounted], { stdio: 'ignore' })
    } catch {
      skip('mounting needs root')
    }
    onTestFinished(() => void execFileSync('umount', [mounted]))
    writeFileSync(join(mounted, 'old'), 'x')
    ageAll(join(folder, 'root'))
    expect(await clean(folder, ['root'])).toEqual({ ...NOTHING, deleted: 1, bytes: 1, skipped: 1 })
    expect(names(join(folder, 'root'))).toEqual(['mounted', 'mounted/old'])
  })

  test('deeper than 100 folders is skipped', async () => {
    const folder = freshFolder()
    const at = (depth: number) => join(folder, 'root', ...Array<string>(depth).fill('d'))
    mkdirSync(at(500), { recursive: true })
    writeFileSync(join(at(100), 'old'), 'x')
    writeFileSync(join(at(101), 'old'), 'x')
    ageAll(join(folder, 'root'))
    expect(await clean(folder, ['root'])).toEqual({ ...NOTHING, deleted: 1, bytes: 1, skipped: 1 })
    expect([100, 101].map((depth) => existsSync(join(at(depth), 'old')))).toEqual([false, true])
  })

  test('may have a name that is not UTF-8', async () => {
    const folder = freshFolder({ 'root/sub/placeholder': '', 'root/fine \u{1f600}': 'x' })
    const strange = Buffer.concat([Buffer.from(join(folder, 'root/sub/')), Buffer.from([0x61, 0xff, 0xfe])])
    writeFileSync(strange, 'x')
    utimesSync(strange, 1, 1)
    for (const old of ['root/sub/placeholder', 'root/fine \u{1f600}', 'root/sub']) age(join(folder, old), 90)
    expect(await clean(folder, ['root'])).toEqual({ ...NOTHING, deleted: 3, folders: 1, bytes: 2 })
    expect(names(join(folder, 'root'))).toEqual([])
  })

  test('with several names frees its bytes with the last of them', async () => {
    const folder = freshFolder({ 'root/one': 'twelve bytes', 'outside/other': '12345' })
    linkSync(join(folder, 'root/one'), join(folder, 'root/two'))
    linkSync(join(folder, 'outside/other'), join(folder, 'root/three'))
    ageAll(join(folder, 'root'))
    expect(await clean(folder, ['root'], { dry_run: true })).toEqual({ ...NOTHING, deleted: 3, bytes: 12 })
    expect(await clean(folder, ['root'])).toEqual({ ...NOTHING, deleted: 3, bytes: 12 })
    expect(readFileSync(join(folder, 'outside/other'), 'utf8')).toBe('12345')
  })

  test('that may not be deleted is counted with its name, and the rest goes on', async ({ skip }) => {
    const folder = freshFolder({ 'root/free/old': 'x' })
    for (let i = 0; i < 12; i += 1) {
      mkdirSync(join(folder, 'root/locked'), { recursive: true })
      writeFileSync(join(folder, `root/locked/ä${i}`), 'x')
    }
    ageAll(join(folder, 'root'))
    const unlock = refuseWrites(join(folder, 'root/locked'))
    if (unlock === null) skip('neither chattr nor a user without rights')
    onTestFinished(() => unlock?.())
    const result = await clean(folder, ['root'])
    expect(result).toMatchObject({ deleted: 1, folders: 1, bytes: 1, errors: 12 })
    expect(result.error_samples).toHaveLength(10)
    for (const { root, path, code } of result.error_samples) {
      expect({ root, path }).toEqual({ root: 'root', path: expect.stringMatching(/^locked\/ä\d+$/) })
      expect(['EACCES', 'EPERM']).toContain(code)
    }
    expect(names(join(folder, 'root/locked'))).toHaveLength(12)
  })

  /** Makes a folder whose entries cannot be deleted: root needs more than the mode for that. Null where it cannot be. */
  function refuseWrites(folder: string): (() => void) | null {
    if (process.getuid?.() !== 0) {
      chmodSync(folder, 0o500)
      return () => chmodSync(folder, 0o700)
    }
    try {
      execFileSync('chattr', ['+a', folder], { stdio: 'ignore' })
      return () => void execFileSync('chattr', ['-a', folder])
    } catch {
      return null
    }
  }
})

describe('a long cleanup', () => {
  test('shows how far it is: percent of all there is, files and bytes', async () => {
    const folder = freshFolder()
    manyFiles(join(folder, 'one/sub'), 3_000)
    manyFiles(join(folder, 'two'), 3_000)
    const seen: { percent: number; note: string | undefined }[] = []
    const progress = async (percent: number, note?: string) => void seen.push({ percent, note })
    await clean(folder, ['one', 'two'], { progress })
    const percents = seen.map(({ percent }) => percent)
    expect(percents).toEqual(percents.toSorted((a, b) => a - b))
    expect(percents.at(-1)).toBe(100)
    for (const { percent, note } of seen) {
      const files = Number(/([\d,]+) files?/.exec(note ?? '')?.[1]?.replaceAll(',', '') ?? 0)
      expect(Math.abs(percent - files / 60)).toBeLessThan(0.1)
    }
    expect(new Set(percents).size).toBeGreaterThan(3)
    expect(seen.at(-1)?.note).toBe('6,000 files, 6.0 kB')
  })

  test('leaves the event loop to others', async () => {
    const folder = freshFolder()
    manyFiles(join(folder, 'root'), 6_000)
    let turns = 0
    let running = true
    const count = () => {
      turns += 1
      if (running) setImmediate(count)
    }
    setImmediate(count)
    await clean(folder, ['root'])
    running = false
    expect(turns).toBeGreaterThan(5)
  })

  test('stops between two files when it is cancelled, and the next run does the rest', async () => {
    const folder = freshFolder()
    manyFiles(join(folder, 'root'), 6_000)
    const controller = new AbortController()
    const notes: string[] = []
    const progress = async (_: number, note = '') => {
      notes.push(note)
      if (note.includes('files')) setImmediate(() => controller.abort('cancelled'))
    }
    await expect(clean(folder, ['root'], { signal: controller.signal, progress })).rejects.toBe('cancelled')
    const left = readdirSync(join(folder, 'root')).length
    expect(left).toBeGreaterThan(0)
    expect(notes.at(-1)).toMatch(`${(6_000 - left).toLocaleString('en-US')} files`)
    expect(await clean(folder, ['root'])).toMatchObject({ deleted: left, errors: 0 })
  })

  test('closes what it has opened, also when it is stopped', async ({ skip }) => {
    if (!existsSync('/proc/self/fd')) skip('no /proc')
    const folder = freshFolder()
    manyFiles(join(folder, 'root/a/b/c'), 5000)
    const open = () => readdirSync('/proc/self/fd').map((fd) => target(`/proc/self/fd/${fd}`))
    const ours = () => open().filter((path) => path.startsWith(realpathSync(folder)))
    const controller = new AbortController()
    const progress = async () => controller.abort('timeout')
    await expect(clean(folder, ['root'], { signal: controller.signal, progress })).rejects.toBe('timeout')
    expect(ours()).toEqual([])
    await clean(folder, ['root'])
    expect(ours()).toEqual([])
  })

  function target(link: string): string {
    try {
      return readlinkSync(link)
    } catch {
      return ''
    }
  }
})

test('a file of more than 2 GiB counts in full', async () => {
  const folder = freshFolder({ 'root/sparse': '' })
  truncateSync(join(folder, 'root/sparse'), 5000_000_000)
  age(join(folder, 'root/sparse'), 90)
  expect(await clean(folder, ['root'])).toMatchObject({ deleted: 1, bytes: 5000_000_000 })
})
