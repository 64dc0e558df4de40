// SIGTERM to a real process: nothing is lost, nothing is charged, and the exit code is 0.
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

function folderWith(worker: object): string {
  return freshFolder({
    ...typeFiles(['polite', 'endless', 'greet', 'hash']),
    'config.yaml': { worker: { types: ['types'], max_workers: 2, ...worker } },
  })
}

describe('SIGTERM', () => {
  test('lets running jobs end, takes no new ones, keeps the waiting ones, and exits 0', async () => {
    const folder = folderWith({ shutdown_grace: 30 })
    const first = await startProcess(folder)
    const running = await Promise.all([1, 2].map(() => first.submit({ type: 'hash', payload: { rounds: 200 } })))
    for (const { id } of running) await first.reaches(id, 'processing')
    const waiting = await first.submit({ type: 'greet', payload: { name: 'later' } })
    first.child.kill('SIGTERM')
    await until('the service drains', async () => (await first.call('GET', '/readyz')).status === 503)
    expect(await first.call('POST', '/jobs', { type: 'greet' })).toMatchObject({
      status: 503,
      body: { code: 'draining' },
    })
    expect(await first.exit).toEqual({ code: 0, signal: null })

    const second = await startProcess(folder)
    for (const { id } of running)
      expect(await second.get(id)).toMatchObject({ status: 'completed', attempt: 1, interruptions: 0 })
    expect(await second.reaches(waiting.id, 'completed')).toMatchObject({ attempt: 1 })
  })

  test('after the grace fires the signals: who returns is completed, who throws or hangs is released uncharged', async () => {
    const folder = folderWith({ shutdown_grace: '200ms', cancel_grace: '300ms', max_workers: 3 })
    const first = await startProcess(folder)
    const returns = await first.submit({ type: 'polite', payload: { at_end: 'return' } })
    const throws = await first.submit({ type: 'polite', payload: { at_end: 'throw' }, retry_count: 0 })
    const hangs = await first.submit({ type: 'endless', retry_count: 0 })
    for (const { id } of [returns, throws])
      await until('it waits for its signal', async () => (await first.get(id)).progress === 10)
    await first.reaches(hangs.id, 'processing')
    expect(await first.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    const msgs = first
      .lines()
      .filter(({ msg }) => msg === 'job release')
      .map(({ id }) => id)
    expect(msgs.sort()).toEqual([throws.id, hangs.id].sort())
    const last = first.lines().at(-1) as { msg: string; released: string[] }
    expect([last.msg, last.released.sort()]).toEqual(['stopped', [throws.id, hangs.id].sort()])

    const second = await startProcess(folder)
    expect(await second.get(returns.id)).toMatchObject({ status: 'completed', result: { stopped_by: 'shutdown' } })
    for (const { id } of [throws, hangs])
      expect(await second.reaches(id, 'processing')).toMatchObject({ attempt: 1, interruptions: 0 })
  })

  test('lets a job that its signal reaches complete with all that it takes: an artifact, a job that it submits', async () => {
    const folder = freshFolder({
      ...typeFiles(['greet']),
      'types/closes.mjs': `import { once } from 'node:events'
      import { pipeline } from 'node:stream/promises'
      export default { timeout: '60s', async run(_, ctx) {
        await ctx.progress(10)
        const awake = setInterval(() => {}, 1000)
        await once(ctx.signal, 'abort')
        clearInterval(awake)
        await pipeline(['what was done so far'], ctx.artifact('partial.txt'))
        return ctx.submit({ type: 'greet', payload: { name: 'the rest' } })
      } }`,
      'config.yaml': { worker: { types: ['types'], shutdown_grace: 0, cancel_grace: 20 } },
    })
    const first = await startProcess(folder)
    const { id } = await first.submit({ type: 'closes' })
    await until('it waits for its signal', async () => (await first.get(id)).progress === 10)
    expect(await first.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(first.lines().at(-1)).toMatchObject({ msg: 'stopped', released: [] })
    const second = await startProcess(folder)
    const job = await second.get(id)
    expect(job).toMatchObject({ status: 'completed', artifacts: [{ name: 'partial.txt', bytes: 20 }] })
    await second.reaches((job.result as { id: string }).id, 'completed')
  })

  test('twice stops at once and loses no job', async () => {
    const folder = folderWith({ shutdown_grace: 600, cancel_grace: 600 })
    const first = await startProcess(folder)
    const jobs = [await first.submit({ type: 'endless' }), await first.submit({ type: 'polite', payload: {} })]
    for (const { id } of jobs) await first.reaches(id, 'processing')
    first.child.kill('SIGTERM')
    await until('the service drains', async () => (await first.call('GET', '/readyz')).status === 503)
    expect(await first.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    const second = await startProcess(folder)
    for (const { id } of jobs)
      expect(await second.reaches(id, 'processing')).toMatchObject({ attempt: 1, interruptions: 0 })
  })

  test('ends by SIGKILL where a job is inside a native call, and that job runs again at the next start', async () => {
    const folder = freshFolder({
      ...typeFiles(['native']),
      'config.yaml': { worker: { types: ['types'], shutdown_grace: '100ms', cancel_grace: '100ms' } },
    })
    const first = await startProcess(folder)
    const { id } = await first.submit({ type: 'native' })
    await first.reaches(id, 'processing')
    expect(await first.kill('SIGTERM')).toEqual({ code: null, signal: 'SIGKILL' })
    expect(first.lines().at(-1)).toMatchObject({ jobs: [id], msg: expect.stringContaining('native calls') })
    const second = await startProcess(folder)
    expect(await second.reaches(id, 'processing')).toMatchObject({ attempt: 1, interruptions: 1 })
  })

  test('is not held up by connections that are kept alive', async () => {
    const first = await startProcess(folderWith({}))
    await first.call('GET', '/livez')
    const begun = performance.now()
    expect(await first.kill('SIGTERM')).toEqual({ code: 0, signal: null })
    // Keep-alive alone would hold it for 65 s.
    expect(performance.now() - begun).toBeLessThan(10_000)
  })
})
