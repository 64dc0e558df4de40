// Which loops are taken for stuck, with an injected clock.
import { expect, test } from 'vitest'
import { createEventBus, type LoopState } from '../../src/events.js'
import { createHeartbeats } from '../../src/upkeep/heartbeats.js'

const START = Date.UTC(2026, 0, 1)
const BEGAN = '2026-01-01T00:00:00.000Z'

function watch() {
  let elapsed = 0
  const bus = createEventBus()
  const heartbeats = createHeartbeats({ bus, now: () => START + elapsed, clock: () => elapsed })
  return {
    ...heartbeats,
    tell: (loop: string, state: LoopState) => bus.publish({ kind: 'loop', loop, state }),
    wait(ms: number) {
      elapsed += ms
    },
  }
}

test('a loop may be silent for the longest wait and half a minute, and is stuck after that', () => {
  const { tell, wait, stuck } = watch()
  tell('ticker', 'waiting')
  wait(90_000)
  expect(stuck()).toBeNull()
  wait(1)
  expect(stuck()).toBe(`the loop ticker has not turned since ${BEGAN}`)
})

test('a pass that does not end is told as such', () => {
  const { tell, wait, stuck } = watch()
  tell('dispatcher', 'running')
  wait(90_001)
  expect(stuck()).toBe(`the loop dispatcher is in a pass that began at ${BEGAN} and does not end`)
})

test('each loop is judged for itself, and all that are stuck are named', () => {
  const { tell, wait, stuck, loops } = watch()
  for (const loop of ['dispatcher', 'ticker', 'pruner']) tell(loop, 'waiting')
  wait(60_000)
  tell('ticker', 'running')
  wait(40_000)
  expect(stuck()).toBe(
    `the loop dispatcher has not turned since ${BEGAN}; the loop pruner has not turned since ${BEGAN}`,
  )
  expect(loops()).toEqual({
    dispatcher: { turned_at: BEGAN },
    ticker: { turned_at: '2026-01-01T00:01:00.000Z' },
    pruner: { turned_at: BEGAN },
  })
})

test('a loop that turns again is not stuck any more', () => {
  const { tell, wait, stuck } = watch()
  tell('ticker', 'waiting')
  wait(3_600_000)
  expect(stuck()).toContain('ticker')
  tell('ticker', 'running')
  expect(stuck()).toBeNull()
})

test('a loop that was stopped on purpose, or never started, is neither listed nor stuck', () => {
  const { tell, wait, stuck, loops } = watch()
  tell('ticker', 'running')
  tell('ticker', 'waiting')
  tell('ticker', 'stopped')
  wait(3_600_000)
  expect([stuck(), loops()]).toEqual([null, {}])
})
