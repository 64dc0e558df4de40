// Ticks: whenever a schedule is looked at, each of its instants runs or is skipped with a reason, once.
import { Cron } from 'croner'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CatchUp, dueTicks, type Timing, tickAfter } from '../../src/schedules/ticks.js'

const T0 = Date.parse('2026-01-01T00:00:00Z')
const MINUTE = 60_000
const rate = (every: number, more: Partial<Timing> = {}): Timing => {
  return { when: { every, mode: 'fixed_rate' }, start_at: null, end_at: null, ...more }
}
const ALL: CatchUp = { catch_up: 'all', max_lateness: 365 * 86_400_000, max_catch_up: 1_000_000 }

/** Looks at the times that it is given, and answers what became of each tick. */
function walk(timing: Timing & CatchUp, anchor: number, looks: number[]) {
  let next_at = tickAfter(timing, anchor, anchor)
  const ran: number[] = []
  const skipped: { tick_at: number; until: number; reason: string }[] = []
  for (const now of looks) {
    if (next_at === null || next_at > now) continue
    const due = dueTicks(timing, anchor, next_at, now)
    ran.push(...due.run)
    skipped.push(...due.skip)
    next_at = due.next_at
  }
  return { ran, skipped, next_at }
}

describe('a fixed rate', () => {
  test('is a grid from its start or its first put, whenever it is looked at', () => {
    expect(tickAfter(rate(1_000), T0, T0)).toBe(T0 + 1_000)
    expect(tickAfter(rate(1_000, { start_at: T0 + 500 }), T0 + 500, T0)).toBe(T0 + 500)
    expect(tickAfter(rate(1_000), T0, T0 + 12_345)).toBe(T0 + 13_000)
    expect(tickAfter(rate(1_000, { end_at: T0 + 13_000 }), T0, T0 + 12_345)).toBeNull()
    expect(walk({ ...rate(1_000), ...ALL }, T0, [T0 + 2_500, T0 + 2_600, T0 + 4_000])).toEqual({
      ran: [1, 2, 3, 4].map((n) => T0 + n * 1_000),
      skipped: [],
      next_at: T0 + 5_000,
    })
  })
})

describe('after a downtime', () => {
  const hourly = (catch_up: CatchUp['catch_up'], max_catch_up = 100) => {
    return { ...rate(60 * MINUTE), catch_up, max_lateness: 86_400_000, max_catch_up }
  }
  const hour = (n: number) => T0 + n * 60 * MINUTE

  test('the last tick runs, and the others are skipped for it', () => {
    const { ran, skipped, next_at } = walk(hourly('last'), T0, [hour(3) + 5])
    expect([ran, next_at]).toEqual([[hour(3)], hour(4)])
    expect(skipped).toEqual([1, 2].map((n) => ({ tick_at: hour(n), until: hour(n), reason: 'superseded' })))
  })

  test('none runs where none is to be caught up, but one that is only just late', () => {
    expect(walk(hourly('none'), T0, [hour(3) + 2 * MINUTE])).toMatchObject({ ran: [], skipped: { length: 3 } })
    expect(walk(hourly('none'), T0, [hour(3) + MINUTE])).toMatchObject({ ran: [hour(3)], skipped: { length: 2 } })
  })

  test('all run that are not too late', () => {
    const { ran, skipped } = walk(hourly('all'), T0, [hour(30)])
    expect(ran).toEqual(Array.from({ length: 25 }, (_, i) => hour(i + 6)))
    expect(skipped.map(({ reason }) => reason)).toEqual(Array(5).fill('too_late'))
  })

  test('those beyond the most that are caught up are one record', () => {
    const { ran, skipped } = walk(hourly('all', 3), T0, [hour(20)])
    expect(ran).toEqual([18, 19, 20].map(hour))
    expect(skipped).toEqual([{ tick_at: hour(1), until: hour(17), reason: 'too_many' }])
  })

  test('a year of seconds is looked at within bounds', () => {
    const timing: Timing = {
      when: { pattern: '* * * * * *', and: false, time_zone: 'UTC' },
      start_at: null,
      end_at: null,
    }
    const due = dueTicks(
      { ...timing, catch_up: 'last', max_lateness: MINUTE, max_catch_up: 100 },
      T0,
      T0,
      T0 + 365 * 86_400_000,
    )
    expect(due.run).toEqual([T0 + 365 * 86_400_000])
    expect(due.skip).toHaveLength(100)
  })
})

const ZONES = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC']
const PATTERNS = ['0 30 2 * * *', '0 0 * * * *', '0 15 1-3 * * 0', '0 0 0 31 * *', '0 0 12 29 2 *', '0 */45 * 1 * 1']

test('between any two instants of some years, exactly the instants of the calendar come, however it is looked at', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...ZONES),
      fc.constantFrom(...PATTERNS),
      fc.integer({ min: 0, max: 6 * 365 * 86_400 }),
      fc.array(fc.integer({ min: 1, max: 40 * 86_400 }), { minLength: 1, maxLength: 12 }),
      (time_zone, pattern, start, steps) => {
        const anchor = T0 + start * 1_000
        let now = anchor
        const looks = steps.map((step) => (now += step * 1_000))
        const timing = { when: { pattern, and: false, time_zone }, start_at: null, end_at: null, ...ALL }
        const expected: number[] = []
        const cron = new Cron(pattern, { timezone: time_zone, paused: true })
        for (let at = cron.nextRun(new Date(anchor)); at !== null && at.getTime() <= now; at = cron.nextRun(at))
          expected.push(at.getTime())
        expect(walk(timing, anchor, looks)).toMatchObject({ ran: expected, skipped: [] })
      },
    ),
    { numRuns: 40 },
  )
})
