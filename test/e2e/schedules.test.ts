// kill -9 at the ticks of a schedule: each is fired once, none is lost.
import { expect, test } from 'vitest'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { typeFiles } from '../support/types.js'
import { until } from '../support/until.js'

const KILLS = 30
const EVERY_MS = 200

interface Tick {
  tick_at: string
  outcome: string
  job_id: string
}

test(`${KILLS} kills at ticks double none and lose none that catch_up all is to run`, async () => {
  const folder = freshFolder({
    ...typeFiles(['greet']),
    'config.yaml': { worker: { types: ['types'], poison_after: 100 } },
  })
  const beat = {
    every: `${EVERY_MS}ms`,
    catch_up: 'all',
    max_catch_up: 500,
    job: { type: 'greet', payload: { name: 'x' } },
  }
  for (let round = 0; round < KILLS; round += 1) {
    const service = await startProcess(folder)
    if (round === 0) expect((await service.call('PUT', '/schedules/beat', beat)).status).toBe(201)
    const fired = () => service.lines().filter(({ msg }) => msg === 'schedule ticks').length
    // Right after the first, the second or the third is on disk: while its job is claimed, runs, or ends.
    await until('it has fired', () => fired() > round % 3)
    await service.kill('SIGKILL')
  }
  const service = await startProcess(folder)
  await until('what was missed is fired', () => service.lines().some(({ msg }) => msg === 'schedule ticks'))
  await service.call('POST', '/schedules/beat/pause')
  const { history } = (await service.call('GET', '/schedules/beat/history?limit=1000')).body as unknown as {
    history: Tick[]
  }
  const times = history.map(({ tick_at }) => Date.parse(tick_at)).reverse()
  expect(times.length).toBeGreaterThan(KILLS)
  expect(times.length).toBeLessThan(1_000)
  expect(times).toEqual(times.map((_, i) => (times[0] ?? 0) + i * EVERY_MS))
  expect(new Set(history.map(({ outcome }) => outcome))).toEqual(new Set(['ran']))
  const jobs = new Set(history.map(({ job_id }) => job_id))
  expect(jobs.size).toBe(times.length)
  await until('all have run', async () => (await service.stats()).completed_jobs === jobs.size)
  expect(await service.stats()).toMatchObject({ queued_jobs: 0, active_workers: 0, failed_jobs: 0 })
}, 180_000)
