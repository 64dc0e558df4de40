// Hints: what happened on a node, told to others in small pieces that are true whatever happened.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createEventBus } from '../src/events.js'
import { createHints, MOST_JOBS, readHint } from '../src/hints.js'
import type { Job } from '../src/job.js'
import { createJobFeed } from '../src/job-feed.js'
import { aJob } from './store/suite/stage.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

describe('hints', () => {
  function start(send: (text: string) => Promise<void> = async () => {}) {
    const bus = createEventBus()
    const sent: string[] = []
    const hints = createHints({
      bus,
      node: 'node-1',
      heard: () => true,
      send: async (text) => {
        sent.push(text)
        await send(text)
      },
    })
    hints.start()
    const moved = (...jobs: Job[]) => {
      for (const job of jobs) bus.publish({ kind: 'job', verb: 'submit', job })
    }
    return { hints, bus, moved, sent, all: () => sent.map(readHint) }
  }
  const jobs = (n: number) => Array.from({ length: n }, () => aJob())

  test('what happens within 50 ms is told together, each job once', async () => {
    const { moved, all } = start()
    const [one, two] = jobs(2) as Job[] as [Job, Job]
    moved(one, two, one)
    await vi.advanceTimersByTimeAsync(0)
    moved(two)
    await vi.advanceTimersByTimeAsync(49)
    expect(all()).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(all()).toMatchObject([
      { jobs: [one.id, two.id], pending: true, many: false, more: false },
      { jobs: [two.id], pending: true, many: false, more: false },
    ])
  })

  test('of more jobs than it holds it says so, and stays below what a notification may be', async () => {
    const { moved, all, sent } = start()
    moved(...jobs(MOST_JOBS))
    await vi.advanceTimersByTimeAsync(50)
    moved(...jobs(3_000))
    await vi.advanceTimersByTimeAsync(50)
    expect(all()).toMatchObject([
      { many: false, more: false },
      { many: true, more: false },
    ])
    expect(all()[1]?.jobs).toHaveLength(MOST_JOBS)
    for (const text of sent) expect(Buffer.byteLength(`${'n'.repeat(100)} ${text}`)).toBeLessThan(8_000)
  })

  test('after one that was not sent, the next says that more may have happened', async () => {
    let fails = true
    const { moved, all } = start(async () => {
      if (fails) throw new Error('cut')
    })
    moved(...jobs(1))
    await vi.advanceTimersByTimeAsync(50)
    fails = false
    await vi.advanceTimersByTimeAsync(1_000)
    expect(all()).toMatchObject([{ more: false }, { jobs: [], more: true }])
    moved(...jobs(1))
    await vi.advanceTimersByTimeAsync(50)
    expect(all()[2]).toMatchObject({ more: false })
  })

  test('what another version adds is left alone; what is no hint is told as such', () => {
    expect(readHint('{"jobs":["a"],"later":1}')).toMatchObject({ jobs: ['a'], many: false })
    for (const text of ['', '{', '{"jobs":"a"}', '[]', 'null']) expect(readHint(text)).toBeNull()
  })
})

test('who watches is told of gaps at once, then once a second at the most, and not of what is over', async () => {
  const bus = createEventBus()
  const feed = createJobFeed(bus, 'epoch')
  let gaps = 0
  const leave = feed.subscribe(
    () => {},
    () => {
      gaps += 1
    },
  )
  bus.publish({ kind: 'gap' })
  await vi.advanceTimersByTimeAsync(0)
  expect(gaps).toBe(1)
  for (let i = 0; i < 60; i += 1) {
    bus.publish({ kind: 'gap' })
    await vi.advanceTimersByTimeAsync(50)
  }
  expect(gaps).toBe(4)
  leave()
  bus.publish({ kind: 'gap' })
  await vi.advanceTimersByTimeAsync(5_000)
  expect(gaps).toBe(4)
  expect(feed.since(0)).toBeNull()
})
