// Throughput and utilisation over windows that slide with an injected clock.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLoad } from '../../src/stats/load.js'

const MINUTE = 60_000

function loadAt(start = 12_345.678) {
  let time = start
  const load = createLoad(() => time)
  return {
    load,
    wait(ms: number) {
      time += ms
    },
  }
}

describe('throughput', () => {
  test('is by the minute, in all and by outcome', () => {
    const { load, wait } = loadAt()
    wait(20 * MINUTE)
    for (let i = 0; i < 30; i += 1) {
      load.ended(i % 3 === 0 ? 'failed' : 'completed')
      wait(1_000)
    }
    load.ended('cancelled')
    const { last_1m, last_5m, last_15m } = load.throughput()
    // The window is what lies between 59 and 60 s back: the second that goes on is not whole.
    expect(last_1m.jobs_per_minute).toBeCloseTo((31 * 60) / 59, 2)
    expect(last_1m.completed_per_minute).toBeCloseTo((20 * 60) / 59, 2)
    expect(last_1m.failed_per_minute).toBeCloseTo((10 * 60) / 59, 2)
    expect(last_1m.cancelled_per_minute).toBeCloseTo(60 / 59, 2)
    expect(last_5m.jobs_per_minute).toBeCloseTo((31 * 60) / 299, 2)
    expect(last_15m.jobs_per_minute).toBeCloseTo((31 * 60) / 899, 2)
  })

  test('is divided by the time since the start while that is shorter than the window, by 1 s at least', () => {
    const { load, wait } = loadAt()
    for (let i = 0; i < 4; i += 1) load.ended('completed')
    expect(load.throughput().last_1m.jobs_per_minute).toBe(240)
    wait(500)
    expect(load.throughput().last_15m.jobs_per_minute).toBe(240)
    wait(9_500)
    expect(load.throughput().last_1m.jobs_per_minute).toBe(24)
    wait(20_000)
    expect(load.throughput().last_15m.jobs_per_minute).toBe(8)
  })

  test('leaves each window when its time has passed, without anything happening', () => {
    const { load, wait } = loadAt()
    wait(30 * MINUTE)
    load.ended('completed')
    const seen = () => Object.values(load.throughput()).map(({ jobs_per_minute }) => jobs_per_minute > 0)
    expect(seen()).toEqual([true, true, true])
    wait(MINUTE + 1_000)
    expect(seen()).toEqual([false, true, true])
    wait(4 * MINUTE)
    expect(seen()).toEqual([false, false, true])
    wait(10 * MINUTE)
    expect(seen()).toEqual([false, false, false])
  })
})

describe('utilisation', () => {
  test('is 0 before any time has passed', () => {
    expect(loadAt().load.utilisation()).toEqual({ last_1m: 0, last_5m: 0, last_15m: 0 })
  })

  test('goes on while nothing happens, also for longer than the longest window', () => {
    const { load, wait } = loadAt()
    load.slots(3, 4)
    wait(30_000)
    expect(load.utilisation().last_1m).toBe(0.75)
    wait(3 * 60 * MINUTE)
    expect(load.utilisation()).toEqual({ last_1m: 0.75, last_5m: 0.75, last_15m: 0.75 })
    load.slots(0, 4)
    wait(2 * MINUTE)
    const { last_1m, last_5m, last_15m } = load.utilisation()
    expect(last_1m).toBe(0)
    expect(last_5m).toBeCloseTo((0.75 * 3) / 5, 2)
    expect(last_15m).toBeCloseTo((0.75 * 13) / 15, 2)
  })

  test('counts each moment with the slots that there were then', () => {
    const { load, wait } = loadAt()
    load.slots(1, 1)
    wait(30_000)
    load.slots(1, 4)
    wait(20_000)
    // 50 s busy of 30 s × 1 + 20 s × 4.
    expect(load.utilisation().last_5m).toBeCloseTo(50 / 110, 3)
  })

  test('is never above 1: slots above a bound that was lowered count while they are busy', () => {
    const { load, wait } = loadAt()
    load.slots(4, 1)
    wait(10_000)
    expect(load.utilisation().last_1m).toBe(1)
  })

  test('is what sums over each millisecond give', () => {
    const step = fc.record({
      busy: fc.nat({ max: 5 }),
      slots: fc.integer({ min: 1, max: 5 }),
      ms: fc.nat({ max: 4_000 }),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const { load, wait } = loadAt()
        let busy_ms = 0
        let slots_ms = 0
        for (const { busy, slots, ms } of steps) {
          load.slots(busy, slots)
          wait(ms)
          busy_ms += busy * ms
          slots_ms += Math.max(busy, slots) * ms
        }
        expect(load.utilisation().last_1m).toBeCloseTo(busy_ms / (slots_ms || 1), 3)
      }),
    )
  })
})
