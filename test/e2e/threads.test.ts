// Threads are replaced when they are worn, and built anew where they die before they can run anything.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { startService } from '../support/service.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

const one_thread = { max_workers: 1, min_workers: 1 }

describe('a thread is replaced', () => {
  async function threadsOf(worker: object, payloads: object[], types = ['thread']) {
    const { submit, ends, lines } = await startService({ types, config: { worker: { ...one_thread, ...worker } } })
    const threads: number[] = []
    for (const payload of payloads) {
      const { type = 'thread', ...rest } = payload as { type?: string }
      const job = await ends((await submit({ type, payload: rest })).id)
      expect(job).toMatchObject({ status: 'completed', attempt: 1, interruptions: 0 })
      threads.push((job.result as { thread: number })?.thread)
    }
    return { threads, lines }
  }

  test('after `worker.recycle.jobs` jobs, none of which comes to harm', async () => {
    const { threads } = await threadsOf({ recycle: { jobs: 3 } }, Array(7).fill({}))
    const [a] = threads
    expect(threads.slice(0, 3)).toEqual([a, a, a])
    // After the first, two may be there for a while: one that starts in its place, and one that a job would not wait for.
    for (const thread of threads) expect(threads.filter((one) => one === thread).length).toBeLessThanOrEqual(3)
  })

  test('where a job leaves more than `worker.recycle.heap` behind', async () => {
    const { threads } = await threadsOf({ recycle: { heap: '64MiB' } }, [{}, { leak: 100 }, {}, {}])
    const [a, ...others] = threads
    expect([others[0], others.slice(1).includes(a as number)]).toEqual([a, false])
  })

  test('and is kept otherwise: the control', async () => {
    const { threads } = await threadsOf({}, [{}, { leak: 100 }, {}, {}])
    expect(new Set(threads).size).toBe(1)
  })

  test('where an earlier job throws late, once the present one has ended', async () => {
    // The error waits until the thread turns: it comes while the third job runs, which turns many times.
    const payloads = [{}, { type: 'late' }, { type: 'hash', rounds: 20 }, {}]
    const { threads, lines } = await threadsOf({}, payloads, ['thread', 'late', 'hash'])
    expect(threads.at(-1)).not.toBe(threads[0])
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'stray error', error: 'too late' }))
  })
})

// Skipped where a thread has no priority of its own.
test.skipIf(process.platform !== 'linux')(
  'handlers run at a lower priority than the thread that answers requests',
  async () => {
    const files = {
      'types/nice.mjs': `import { readlinkSync } from 'node:fs'
    import { getPriority } from 'node:os'
    export default { run: () => [getPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1))), getPriority(process.pid)] }`,
    }
    const { submit, ends } = await startService({ files })
    const [thread, main] = (await ends((await submit({ type: 'nice' })).id)).result as [number, number]
    expect(thread - main).toBe(5)
  },
)

describe('where threads die while they start', () => {
  /** Loaded into every thread before anything of jobmill. */
  const SABOTAGE = `const { existsSync } = require('node:fs')
  const { isMainThread } = require('node:worker_threads')
  if (!isMainThread && existsSync(__dirname + '/broken')) HOW`

  test.each([
    ['throw', `throw new Error('no such library')`, 'no such library'],
    ['exit', 'process.exit(7)', ''],
  ])(
    'by %s: readiness is red, it is logged once, no job is charged, and all runs when they start again',
    async (_, how, message) => {
      const folder = freshFolder({
        ...typeFiles(['exits', 'greet', 'polite']),
        'sabotage.cjs': SABOTAGE.replace('HOW', how),
        'config.yaml': { worker: { types: ['types'], max_workers: 4 } },
      })
      const service = await startProcess(folder, { NODE_OPTIONS: `--require ${join(folder, 'sabotage.cjs')}` })
      const survivor = await service.submit({ type: 'polite', payload: {} })
      await service.reaches(survivor.id, 'processing')
      writeFileSync(join(folder, 'broken'), '')
      const jobs = await Promise.all(
        [1, 2, 3, 4, 5].map((n) => service.submit({ type: 'greet', payload: { name: n } })),
      )
      const red = await until('readiness is red', async () => {
        const { status, body } = await service.call('GET', '/readyz')
        return status === 503 && body
      })
      expect(red).toMatchObject({ code: 'not_ready', detail: expect.stringContaining('threads end while they start') })
      expect(red).toMatchObject({ detail: expect.stringContaining(message) })
      // Longer than a few of the tries: they are not told one by one.
      await until('it was tried again', async () => (await service.stats()).queued_jobs === jobs.length)
      expect(await service.get(survivor.id)).toMatchObject({ status: 'processing', attempt: 1 })
      rmSync(join(folder, 'broken'))
      for (const { id } of jobs)
        expect(await service.reaches(id, 'completed', 'failed')).toMatchObject({ status: 'completed', attempt: 1 })
      expect((await service.call('GET', '/readyz')).status).toBe(200)
      const said = service.lines().filter(({ msg }) => msg === 'no jobs are run' || msg === 'threads start again')
      expect(said.map(({ msg }) => msg)).toEqual(['no jobs are run', 'threads start again'])
      expect((await service.call('POST', `/jobs/${survivor.id}/cancel`)).status).toBe(202)
      await service.reaches(survivor.id, 'cancelled')
    },
    60_000,
  )
})
