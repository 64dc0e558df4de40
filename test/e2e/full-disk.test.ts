// A disk that is really full, under a real process: what was accepted goes on, nothing new is taken, and all is well with room.
import { appendFileSync, existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { mountSmallDisk, no_small_disk } from '../support/small-disk.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

const MIB = 1_048_576
const BALLAST = 8 * MIB

/** Ends with a large result once it is told to. */
const HOLDS = `import { existsSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
export default { timeout: '60s', retry_count: 0, async run(_, ctx) {
  while (!existsSync(ctx.resolve('go'))) await setTimeout(10, undefined, { signal: ctx.signal })
  return 'y'.repeat(500_000)
} }`

/** Writes an artifact that never ends once it is told to. */
const FLOODS = `import { existsSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
export default { timeout: '60s', retry_count: 0, async run(_, ctx) {
  while (!existsSync(ctx.resolve('go'))) await setTimeout(10, undefined, { signal: ctx.signal })
  await pipeline(function* () { for (;;) yield 'x'.repeat(65_536) }, ctx.artifact('flood.txt'))
} }`

/** Database and artifacts are on a disk of 48 MiB. Of one job at a time the first one holds up the others. */
async function startOnSmallDisk(data: object, max_workers = 1) {
  const source = 'file:disk/jobs.db'
  const folder = freshFolder({
    ...typeFiles(['greet']),
    'types/holds.mjs': HOLDS,
    'types/floods.mjs': FLOODS,
    'disk/.mount_point': '',
    'config.yaml': {
      data: { database: { master: { driver: 'sqlite3', source } }, artifacts: { dir: 'disk/artifacts' }, ...data },
      worker: { types: ['types'], max_workers, queue_size: 10_000 },
    },
  })
  const disk = await mountSmallDisk(join(folder, 'disk'), '48m')
  const start = () => startProcess(folder, {}, disk.within(folder))
  const service = await start()
  const accepted: string[] = []

  /** Until the first refusal, which it answers. */
  async function submitUntilRefused(bytes: number) {
    for (let i = 0; i < 1_000; i += 1) {
      const answer = await service.call('POST', '/jobs', { type: 'greet', payload: { text: 'x'.repeat(bytes) } })
      if (answer.status !== 202) return answer
      accepted.push(answer.body.id)
    }
    throw new Error('a disk without an end')
  }

  return {
    ...service,
    accepted,
    submitUntilRefused,
    start,
    database: disk.path('jobs.db'),
    ballast: disk.path('jobs.db.ballast'),
    filler: disk.path('filler'),
    go: () => writeFileSync(join(folder, 'go'), ''),
    ready: async () => (await service.call('GET', '/readyz')).status === 200,
    remove: async (id: string) => (await fetch(`${service.url}/jobs/${id}`, { method: 'DELETE' })).status,
    disk_lines: () => service.lines().flatMap(({ msg, detail }) => (msg === 'disk space' ? [String(detail)] : [])),
  }
}

/** Takes all that is left of the disk; answers how many bytes that was. */
function fill(file: string): number {
  try {
    for (let i = 0; i < 100_000; i += 1) appendFileSync(file, Buffer.alloc(4_096, 1))
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  }
  return statSync(file).size
}

// Skipped where user namespaces are off: a real small disk cannot be mounted there.
describe.skipIf(no_small_disk)('a full disk', () => {
  test('refuses submissions, while the ballast lets outcomes, deletes and cancels go on until there is room', async () => {
    const the = await startOnSmallDisk({ min_free: 2 * MIB })
    const { call, submit, reaches, submitUntilRefused, ballast, filler, accepted, get } = the
    expect([statSync(ballast).size, await the.ready()]).toEqual([BALLAST, true])
    const done = await submit({ type: 'greet', payload: { name: 'early' } })
    await reaches(done.id, 'completed')
    const held = await submit({ type: 'holds' })
    await reaches(held.id, 'processing')
    writeFileSync(filler, Buffer.alloc(24 * MIB, 1))

    expect(await submitUntilRefused(500_000)).toMatchObject({ status: 507, body: { code: 'storage_full' } })
    expect(accepted.length).toBeGreaterThan(5)
    expect(existsSync(ballast)).toBe(false)
    // There would be room for a small one: it is kept for what was accepted.
    expect(await submitUntilRefused(1)).toMatchObject({
      status: 507,
      body: { detail: expect.stringContaining('ballast') },
    })
    const { status, body } = await call('GET', '/readyz')
    expect([status, body.code, body.detail]).toEqual([503, 'not_ready', expect.stringContaining('was full')])
    expect(body.detail).not.toContain('/')

    the.go()
    expect((await reaches(held.id, 'completed')).result).toHaveLength(500_000)
    expect(await the.remove(done.id)).toBe(204)
    const cancelled = accepted.at(-1) as string
    expect((await call('POST', `/jobs/${cancelled}/cancel`)).status).toBe(200)
    for (const id of accepted.slice(0, -1)) await reaches(id, 'completed')

    rmSync(filler)
    await until('it is ready again', the.ready)
    expect(statSync(ballast).size).toBe(BALLAST)
    const late = await submit({ type: 'greet', payload: { text: 'x'.repeat(500_000) } })
    await reaches(late.id, 'completed')
    expect((await get(cancelled)).status).toBe('cancelled')
    expect((await call('GET', `/jobs/${done.id}`)).status).toBe(404)
    const { completed_jobs } = await the.stats()
    expect(completed_jobs).toBe(accepted.length + 2)
    // Once each, however often it was looked at.
    expect(the.disk_lines().filter((line) => /was full/.test(line))).toHaveLength(1)
    expect(the.disk_lines().filter((line) => /has a ballast/.test(line))).toHaveLength(2)
  }, 60_000)

  test('without a ballast keeps outcomes from being stored until there is room: the control', async () => {
    const the = await startOnSmallDisk({ ballast: 0, min_free: 0 })
    const { submit, reaches, submitUntilRefused, ballast, filler, accepted, get, lines } = the
    const held = await submit({ type: 'holds' })
    await reaches(held.id, 'processing')
    writeFileSync(filler, Buffer.alloc(32 * MIB, 1))
    for (const bytes of [500_000, 50_000, 5_000, 1])
      expect(await submitUntilRefused(bytes)).toMatchObject({ status: 507, body: { code: 'storage_full' } })
    expect(existsSync(ballast)).toBe(false)
    expect(accepted.length).toBeGreaterThan(5)

    the.go()
    const doing = `storing the outcome of ${held.id}`
    await until('its outcome was refused again and again', () => lines().filter((l) => l.doing === doing).length > 4)
    expect((await get(held.id)).status).toBe('processing')

    rmSync(filler)
    await reaches(held.id, 'completed')
    for (const id of accepted) await reaches(id, 'completed')
  }, 60_000)

  test('that a killed process left behind is no end: the next one starts, and ends what was accepted', async () => {
    const first = await startOnSmallDisk({ min_free: 2 * MIB })
    const held = await first.submit({ type: 'holds' })
    await first.reaches(held.id, 'processing')
    const waiting = await first.submit({ type: 'greet' })
    await first.kill('SIGKILL')
    // To open the database takes a little room then.
    rmSync(`${first.database}.lock-journal`)
    expect(fill(first.filler)).toBeGreaterThan(30 * MIB)

    const second = await first.start()
    expect(existsSync(first.ballast)).toBe(false)
    expect(await second.call('POST', '/jobs', { type: 'greet' })).toMatchObject({
      status: 507,
      body: { code: 'storage_full' },
    })
    first.go()
    expect(await second.reaches(held.id, 'completed')).toMatchObject({ attempt: 1, interruptions: 1 })
    await second.reaches(waiting.id, 'completed')
    rmSync(first.filler)
    await until('it is ready', async () => (await second.call('GET', '/readyz')).status === 200)
    await second.submit({ type: 'greet' })
  }, 60_000)

  test('takes no artifacts either: they would use up what the ballast made room for', async () => {
    const the = await startOnSmallDisk({ min_free: 2 * MIB }, 3)
    const floods = await Promise.all([1, 2].map(() => the.submit({ type: 'floods' })))
    for (const { id } of floods) await the.reaches(id, 'processing')
    fill(the.filler)
    expect((await the.submitUntilRefused(100)).status).toBe(507)
    the.go()
    for (const { id } of floods) {
      const { error } = await the.reaches(id, 'failed')
      expect(error?.message).toContain('was full')
    }
    rmSync(the.filler)
    await until('it is ready again', the.ready)
  }, 60_000)

  test('is foretold by /readyz below the floor, of either folder, while submissions go on', async () => {
    const the = await startOnSmallDisk({ ballast: 0, min_free: 30 * MIB })
    expect(await the.ready()).toBe(true)
    writeFileSync(the.filler, Buffer.alloc(20 * MIB, 1))
    await until('it is not ready', async () => !(await the.ready()))
    const { body } = await the.call('GET', '/readyz')
    const bytes = String.raw`has \d{8} bytes free, less than data\.min_free of ${30 * MIB}`
    const sentence = `^the disk of the database ${bytes}; the disk of the artifacts ${bytes}$`
    expect(body.detail).toMatch(new RegExp(sentence))
    const { id } = await the.submit({ type: 'greet' })
    await the.reaches(id, 'completed')
    rmSync(the.filler)
    await until('it is ready again', the.ready)
    // The answer may be here before the log, which is written aside.
    await until('all was told', () => the.disk_lines().length >= 4)
    expect(the.disk_lines()).toEqual([
      expect.stringMatching(/^the disk of the database has \d+ bytes free/),
      expect.stringMatching(/^the disk of the artifacts has \d+ bytes free/),
      'the disk of the database has room again',
      'the disk of the artifacts has room again',
    ])
  }, 60_000)
})
