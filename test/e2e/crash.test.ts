// kill -9 of a real process: what got a 202 reaches one final state, and no run overlaps another of the same job.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { launch, startProcess } from '../support/process.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

/** Writes down when each run begins and ends, so that the test can see overlaps and missing work for itself. */
const WITNESS = `import { appendFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
export default { timeout: '30s', retry_count: 0, async run({ rounds }, ctx) {
  const note = (what) => appendFileSync(ctx.resolve('witness.log'), [what, ctx.id, ctx.run, process.pid].join(' ') + '\\n')
  note('begin')
  let digest = ctx.id
  for (let i = 0; i < rounds; i += 1) {
    for (let j = 0; j < 500; j += 1) digest = createHash('sha256').update(digest).digest('hex')
    await setImmediate()
  }
  note('end')
  return digest
} }`

function folderWith(worker: object = {}): string {
  return freshFolder({
    ...typeFiles(['polite', 'endless', 'greet', 'kills']),
    'types/witness.mjs': WITNESS,
    'config.yaml': { worker: { types: ['types'], max_workers: 4, queue_size: 100_000, ...worker } },
  })
}

function witnessed(folder: string) {
  const file = join(folder, 'witness.log')
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  return lines.flatMap((line) => {
    const [what, id, run, pid] = line.split(' ')
    return pid === undefined ? [] : [{ what, id: String(id), run: Number(run), pid: Number(pid) }]
  })
}

describe('kill -9', () => {
  test('under load, three times: every acknowledged job completes once, and no two runs of a job overlap', async () => {
    // A job of this test may well be running at each of the three kills: it is no poison.
    const folder = folderWith({ poison_after: 100 })
    const acknowledged = new Set<string>()
    for (let round = 0; round < 3; round += 1) {
      const service = await startProcess(folder)
      let going = true
      const client = async () => {
        while (going) {
          try {
            acknowledged.add((await service.submit({ type: 'witness', payload: { rounds: 20 } })).id)
          } catch {
            // The process is gone: what it did not acknowledge, it does not owe.
            return
          }
        }
      }
      const clients = Array.from({ length: 8 }, client)
      const before = acknowledged.size
      const seen = witnessed(folder).length
      await until(
        'jobs are accepted and run',
        () => acknowledged.size > before + 20 && witnessed(folder).length > seen + 10,
      )
      expect(await service.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' })
      appendFileSync(join(folder, 'witness.log'), 'killed - - -\n')
      going = false
      await Promise.all(clients)
    }

    const service = await startProcess(folder)
    for (const id of acknowledged) {
      expect(await service.reaches(id, 'completed', 'failed', 'cancelled')).toMatchObject({
        status: 'completed',
        attempt: 1,
      })
    }
    const running = new Map<string, number>()
    const runs = new Set<string>()
    for (const { what, id, run } of witnessed(folder)) {
      if (what === 'killed') running.clear()
      if (what === 'begin') {
        expect(running.has(id), `${id} runs twice at once`).toBe(false)
        expect(runs.has(`${id} ${run}`), `run ${run} of ${id} began twice`).toBe(false)
        runs.add(`${id} ${run}`)
        running.set(id, run)
      }
      if (what === 'end') running.delete(id)
    }
    const ended = new Set(
      witnessed(folder)
        .filter(({ what }) => what === 'end')
        .map(({ id }) => id),
    )
    expect([...acknowledged].filter((id) => !ended.has(id))).toEqual([])
  }, 120_000)

  test('leaves a running job that runs again at once, without a retry burnt', async () => {
    const folder = folderWith()
    const first = await startProcess(folder)
    const { id } = await first.submit({ type: 'polite', payload: {}, retry_count: 0 })
    await first.reaches(id, 'processing')
    await first.kill('SIGKILL')
    const second = await startProcess(folder)
    const job = await second.reaches(id, 'processing')
    expect(job).toMatchObject({ attempt: 1, max_attempts: 1, interruptions: 1 })
    const { attempts } = (await second.call('GET', `/jobs/${id}/attempts`)).body as unknown as {
      attempts: { run: number; outcome: string | null }[]
    }
    expect(attempts.map(({ run, outcome }) => [run, outcome])).toEqual([
      [1, 'rescue'],
      [2, null],
    ])
  })

  test('does not bring a job back to life whose cancel was stored', async () => {
    const folder = folderWith({ cancel_grace: 60 })
    const first = await startProcess(folder)
    const { id } = await first.submit({ type: 'endless' })
    await first.reaches(id, 'processing')
    expect((await first.call('POST', `/jobs/${id}/cancel`, { reason: 'a mistake' })).status).toBe(202)
    await first.kill('SIGKILL')
    const second = await startProcess(folder)
    expect(await second.reaches(id, 'cancelled', 'processing', 'pending')).toMatchObject({
      status: 'cancelled',
      reason_detail: 'a mistake',
    })
  })

  test('three times under the same job fails it as poison', async () => {
    const folder = folderWith()
    const { submit, kill, reaches } = await startProcess(folder)
    const { id } = await submit({ type: 'endless' })
    await reaches(id, 'processing')
    await kill('SIGKILL')
    for (let interruptions = 1; interruptions < 3; interruptions += 1) {
      const next = await startProcess(folder)
      expect((await next.reaches(id, 'processing')).interruptions).toBe(interruptions)
      await next.kill('SIGKILL')
    }
    const last = await startProcess(folder)
    expect(await last.reaches(id, 'failed')).toMatchObject({ error: { code: 'poison' }, interruptions: 3 })
    expect((await last.submit({ type: 'greet' })).status).toBe('pending')
  })

  test('by a job takes down its neighbours no more than twice: then each runs alone, and only the cause is failed', async () => {
    const folder = folderWith()
    const rounds = { rounds: 400 }
    const first = await startProcess(folder, { JOBMILL_WORKER__MAX_WORKERS: '1' })
    const blocker = await first.submit({ type: 'endless' })
    await first.reaches(blocker.id, 'processing')
    const innocent = await Promise.all(
      [1, 2].map(() => first.submit({ type: 'witness', payload: rounds, priority: 1 })),
    )
    const killer = await first.submit({ type: 'kills', priority: 2 })
    await first.call('POST', `/jobs/${blocker.id}/cancel`)
    await first.kill('SIGKILL')

    // The killer starts beside the others twice, then alone.
    for (let crashes = 1; crashes <= 3; crashes += 1)
      expect(await startDoomed(folder).exit).toEqual({ code: null, signal: 'SIGKILL' })
    const last = await startProcess(folder)
    expect(await last.reaches(killer.id, 'failed')).toMatchObject({ error: { code: 'poison' }, interruptions: 3 })
    for (const { id } of innocent)
      expect(await last.reaches(id, 'completed', 'failed')).toMatchObject({ status: 'completed', interruptions: 2 })
  })
})

/** Starts it and does not wait until it listens: it may be dead by then. */
const startDoomed = (folder: string) => launch(folder, ['--port', '0'])
