// The timer loop: starts, hastens, survives a pass that throws, and stops for good.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createEventBus, type ServiceEvent } from '../../src/events.js'
import { every } from '../../src/upkeep/every.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function loopOf(pass: () => Promise<number>) {
  const events: ServiceEvent[] = []
  const bus = createEventBus()
  const states: string[] = []
  bus.subscribe((event) => {
    if (event.kind === 'loop') states.push(`${event.loop} ${event.state}`)
    else events.push(event)
  })
  return { loop: every('test', bus, pass), events, states }
}

test('runs at once when started, also after a wish from before the start', async () => {
  const pass = vi.fn(async () => 5_000)
  const { loop } = loopOf(pass)
  loop.within(0)
  await vi.advanceTimersByTimeAsync(10)
  expect(pass).toHaveBeenCalledTimes(0)
  loop.start()
  await vi.advanceTimersByTimeAsync(0)
  expect(pass).toHaveBeenCalledTimes(1)
  await loop.stop()
})

test('runs again after what the pass answers, sooner on a wish, never later than a minute', async () => {
  const pass = vi.fn(async () => Number.POSITIVE_INFINITY)
  const { loop } = loopOf(pass)
  loop.start()
  await vi.advanceTimersByTimeAsync(59_999)
  expect(pass).toHaveBeenCalledTimes(1)
  await vi.advanceTimersByTimeAsync(1)
  expect(pass).toHaveBeenCalledTimes(2)
  loop.within(3_000)
  loop.within(9_000)
  await vi.advanceTimersByTimeAsync(2_999)
  expect(pass).toHaveBeenCalledTimes(2)
  await vi.advanceTimersByTimeAsync(1)
  expect(pass).toHaveBeenCalledTimes(3)
  await loop.stop()
})

test('heeds a wish that comes while a pass runs', async () => {
  let finish = (_wait: number) => {}
  const pass = vi.fn(() => new Promise<number>((resolve) => (finish = resolve)))
  const { loop } = loopOf(pass)
  loop.start()
  await vi.advanceTimersByTimeAsync(0)
  loop.within(0)
  expect(pass).toHaveBeenCalledTimes(1)
  finish(50_000)
  await vi.advanceTimersByTimeAsync(0)
  expect(pass).toHaveBeenCalledTimes(2)
  finish(0)
  await loop.stop()
})

test('tells of a pass that throws and goes on', async () => {
  const pass = vi.fn(async () => 1).mockRejectedValueOnce(new Error('once'))
  const { loop, events } = loopOf(pass)
  loop.start()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(events).toEqual([expect.objectContaining({ kind: 'pass_failed', loop: 'test', message: 'once' })])
  expect(pass.mock.calls.length).toBeGreaterThan(1)
  await loop.stop()
})

test('stops when the running pass has ended, and does not run again', async () => {
  let finish = (_wait: number) => {}
  const pass = vi.fn(() => new Promise<number>((resolve) => (finish = resolve)))
  const { loop } = loopOf(pass)
  loop.start()
  await vi.advanceTimersByTimeAsync(0)
  let stopped = false
  const stopping = loop.stop().then(() => {
    stopped = true
  })
  await vi.advanceTimersByTimeAsync(1_000)
  expect(stopped).toBe(false)
  finish(0)
  await stopping
  loop.within(0)
  await vi.advanceTimersByTimeAsync(70_000)
  expect(pass).toHaveBeenCalledTimes(1)
})

test('tells when it waits, when a pass begins and when it was stopped, also of a pass that throws', async () => {
  const pass = vi.fn(async () => 5_000).mockRejectedValueOnce(new Error('once'))
  const { loop, states } = loopOf(pass)
  loop.start()
  expect(states.splice(0)).toEqual(['test waiting'])
  await vi.advanceTimersByTimeAsync(10)
  expect(states.splice(0)).toEqual(['test running', 'test waiting'])
  await vi.advanceTimersByTimeAsync(1_000)
  expect(states.splice(0)).toEqual(['test running', 'test waiting'])
  await loop.stop()
  expect(states.splice(0)).toEqual(['test stopped'])
})

test('does not tell that it was stopped while a pass keeps it', async () => {
  let finish = (_wait: number) => {}
  const { loop, states } = loopOf(() => new Promise<number>((resolve) => (finish = resolve)))
  loop.start()
  await vi.advanceTimersByTimeAsync(0)
  const stopping = loop.stop()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(states.at(-1)).toBe('test running')
  finish(0)
  await stopping
  expect(states.at(-1)).toBe('test stopped')
})
