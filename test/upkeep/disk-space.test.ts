// The ballast and the floor, with real files. A disk that is really full: test/e2e/full-disk.test.ts.
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createArtifactFolder } from '../../src/artifacts.js'
import { createEventBus, type ServiceEvent } from '../../src/events.js'
import { createIds } from '../../src/ids.js'
import { createTracker } from '../../src/tracker.js'
import { createDiskSpace, type DiskSpaceOptions } from '../../src/upkeep/disk-space.js'
import { openAt } from '../store/open.js'
import { NO_BOUNDS, RULES } from '../store/suite/stage.js'
import { freshFolder } from '../support/folder.js'
import { until } from '../support/until.js'

const SIZE = 2_500_000
/** More than any disk has. */
const ENDLESS = 2 ** 60

/** Beside a database in a fresh folder, or in `folder`. */
function diskSpace(options: Partial<DiskSpaceOptions> = {}, folder = freshFolder({ 'jobs.db': 'a database' })) {
  const bus = createEventBus()
  const told: { well: boolean; message: string }[] = []
  const failures: ServiceEvent[] = []
  let passes = 0
  bus.subscribe((event) => {
    if (event.kind === 'disk_space') told.push({ well: event.well, message: event.message })
    if (event.kind === 'pass_failed') failures.push(event)
    if (event.kind === 'loop' && event.state === 'running') passes += 1
  })
  const database = join(folder, 'jobs.db')
  const defaults = { bus, database, artifacts: join(folder, 'not/there/yet'), ballast: SIZE, min_free: 0 }
  const disk = createDiskSpace({ ...defaults, ...options })
  onTestFinished(disk.stop)
  return {
    ...disk,
    bus,
    told,
    failures,
    passes: () => passes,
    folder,
    database,
    file: `${database}.ballast`,
    full: () => bus.publish({ kind: 'disk_full' }),
  }
}

describe('the ballast', () => {
  test('is made at the start, as large as it says also for a file system that compresses', async () => {
    const { start, file, told, refusal, trouble } = diskSpace()
    await start()
    expect(statSync(file).size).toBe(SIZE)
    expect(gzipSync(readFileSync(file)).length).toBeGreaterThan(SIZE)
    expect([refusal(), trouble()]).toEqual([null, null])
    expect(told).toEqual([{ well: true, message: `the disk of the database has a ballast of ${SIZE} bytes` }])
  })

  test('is kept by the next start, and made again where its size is another', async () => {
    const first = diskSpace()
    await first.start()
    await first.stop()
    const made = statSync(first.file)
    const second = diskSpace({}, first.folder)
    await second.start()
    await second.stop()
    expect(statSync(first.file)).toMatchObject({ ino: made.ino, mtimeMs: made.mtimeMs })
    expect(second.told).toEqual([])
    for (const ballast of [SIZE / 2, SIZE]) {
      const next = diskSpace({ ballast }, first.folder)
      await next.start()
      await next.stop()
      expect(statSync(first.file).size).toBe(ballast)
    }
  })

  test('of 0 bytes is none: one that was there goes, and a full disk changes nothing', async () => {
    const { start, file, full, refusal, trouble, told } = diskSpace({ ballast: 0 })
    writeFileSync(file, 'of another setting')
    await start()
    expect(existsSync(file)).toBe(false)
    full()
    expect([refusal(), trouble(), told]).toEqual([null, null, []])
  })

  test('lies on the disk of the database also where a link leads there', async () => {
    const folder = freshFolder({ 'real/jobs.db': 'a database' })
    mkdirSync(join(folder, 'links'))
    symlinkSync(join(folder, 'real/jobs.db'), join(folder, 'links/jobs.db'))
    const { start } = diskSpace({ database: join(folder, 'links/jobs.db') })
    await start()
    expect([
      existsSync(join(folder, 'real/jobs.db.ballast')),
      existsSync(join(folder, 'links/jobs.db.ballast')),
    ]).toEqual([true, false])
  })

  test('is gone at once when the disk is full; submissions are refused until there is room for it again', async () => {
    const { start, file, full, refusal, trouble, told } = diskSpace()
    await start()
    full()
    expect(existsSync(file)).toBe(false)
    expect(refusal()).toMatchObject({ code: 'storage_full', message: expect.stringContaining('was full') })
    expect(trouble()).toContain('the disk of the database was full')
    full()
    await until('it is there again', () => refusal() === null)
    expect([trouble(), statSync(file).size]).toEqual([null, SIZE])
    expect(told.map(({ well }) => well)).toEqual([true, false, true])
  })

  test('is not made again as long as there is room for less than two and the floor', async () => {
    const { start, file, full, refusal, passes } = diskSpace({ min_free: ENDLESS })
    await start()
    expect(statSync(file).size).toBe(SIZE)
    full()
    const before = passes()
    await until('it was looked at twice and once begun', () => passes() >= before + 3)
    expect([existsSync(file), refusal()?.code]).toEqual([false, 'storage_full'])
  })

  test('that has no room at the start is done without, and submissions go on until the disk is full', async () => {
    const { start, file, full, refusal, trouble, told, failures } = diskSpace({ ballast: ENDLESS })
    await start()
    expect([existsSync(file), refusal(), trouble()]).toEqual([false, null, null])
    expect(told).toEqual([
      { well: false, message: expect.stringMatching(/^goes on without the ballast of .* has \d+ bytes free$/) },
    ])
    full()
    expect(refusal()).toMatchObject({ code: 'storage_full' })
    expect(failures).toEqual([])
  })

  test('that cannot be made is done without, and one that cannot be removed still ends submissions', async () => {
    const { start, file, full, refusal, told } = diskSpace()
    mkdirSync(join(file, 'a folder'), { recursive: true })
    await start()
    expect(told).toEqual([{ well: false, message: expect.stringContaining('goes on without the ballast') }])
    full()
    expect(refusal()).toMatchObject({ code: 'storage_full' })
    expect(told).toHaveLength(2)
  })

  test('that is being made when the disk is full is given up', async () => {
    const { start, file, full, refusal } = diskSpace({ ballast: 200_000_000 })
    const started = start()
    await until('a part of it is there', () => existsSync(file) && statSync(file).size > 0)
    full()
    expect(refusal()).toMatchObject({ code: 'storage_full' })
    await started
    expect([existsSync(file), refusal()?.code]).toEqual([false, 'storage_full'])
  })
})

describe('artifacts', () => {
  test('on the disk of the database are refused like submissions while the ballast is spent', async () => {
    const { start, full, artifactRefusal } = diskSpace()
    await start()
    expect(artifactRefusal()).toBeNull()
    full()
    expect(artifactRefusal()).toMatchObject({ code: 'storage_full' })
  })

  // Skipped where there is no /proc: another file system is needed, whichever.
  test.skipIf(!existsSync('/proc/self'))('on another disk are not', async () => {
    const { start, full, refusal, artifactRefusal } = diskSpace({ artifacts: '/proc' })
    await start()
    full()
    expect([refusal()?.code, artifactRefusal()]).toEqual(['storage_full', null])
  })
})

describe('the floor', () => {
  test('names the folder’s role, what is free and what should be, and never a path', async () => {
    const { start, folder, trouble, refusal, told } = diskSpace({ min_free: ENDLESS, ballast: 0 })
    await start()
    const lack = (role: string) => `the disk of the ${role} has \\d+ bytes free, less than data.min_free of ${ENDLESS}`
    expect(trouble()).toMatch(new RegExp(`^${lack('database')}; ${lack('artifacts')}$`))
    expect(trouble()).not.toContain(folder)
    expect(refusal()).toBeNull()
    expect(told.map(({ message }) => message)).toEqual(
      ['database', 'artifacts'].map((role) => expect.stringMatching(lack(role))),
    )
  })

  test('of 0 is none', async () => {
    const { start, trouble, told } = diskSpace({ ballast: 0 })
    await start()
    expect([trouble(), told]).toEqual([null, []])
  })
})

test('a database that is full on a disk that is not takes submissions again as soon as it can', async () => {
  const folder = freshFolder()
  const file = join(folder, 'jobs.db')
  const disk = diskSpace({ database: file, ballast: 100_000 }, folder)
  const { store, db } = openAt(file, { onFull: disk.full })
  await disk.start()
  const { bus, refusal } = disk
  const parts = { node: 'n', rules: RULES, bounds: NO_BOUNDS, now: Date.now, newId: createIds(Date.now) }
  const files = createArtifactFolder(folder)
  const tracker = createTracker({ store, files, bus, ...parts, refusal, random: () => 0 })
  const job = {
    type: 'a',
    payload: `"${'x'.repeat(20_000)}"`,
    priority: 3,
    run_at: null,
    max_attempts: 1,
    timeout_ms: 5,
    keys: [],
  }
  const submit = () => tracker.submit(job, Date.now())
  await submit()
  const roomy = db.pragma('max_page_count', { simple: true })
  db.pragma(`max_page_count = ${db.pragma('page_count', { simple: true })}`)
  for (let round = 0; round < 2; round += 1) {
    await expect(submit()).rejects.toMatchObject({ code: 'storage_full', message: /no space left/ })
    await expect(submit()).rejects.toMatchObject({ code: 'storage_full', message: /ballast/ })
    await until('the ballast is there again', () => refusal() === null)
  }
  db.pragma(`max_page_count = ${roomy}`)
  await submit()
  expect((await store.list({}, 10, null)).jobs).toHaveLength(2)
})
