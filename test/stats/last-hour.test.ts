// The minutes of the last hour, with an injected clock.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLastHour } from '../../src/stats/last-hour.js'

const MINUTE = 60_000

function hourAt(begins = 90_000) {
  let time = begins
  const hour = createLastHour(
    () => 1_000_000 + time,
    () => time,
  )
  function wait(ms: number): void {
    time += ms
  }
  return { hour, wait, now: () => time }
}

test('counts each end in its minute, by status', () => {
  const { hour, wait } = hourAt()
  hour.ended('completed')
  hour.ended('failed')
  wait(2 * MINUTE)
  hour.ended('completed')
  hour.ended('completed')
  hour.ended('cancelled')
  const { completed, failed, cancelled, ends_at } = hour.read()
  expect([completed.length, failed.length, cancelled.length]).toEqual([60, 60, 60])
  expect(completed.slice(-3)).toEqual([1, 0, 2])
  expect(failed.slice(-3)).toEqual([1, 0, 0])
  expect(cancelled.slice(-3)).toEqual([0, 0, 1])
  // The clock stands half a minute into one.
  expect(ends_at).toBe(1_000_000 + 90_000 + 2 * MINUTE + 30_000)
})

test('forgets what is more than an hour ago, also where nothing ended since', () => {
  const { hour, wait } = hourAt()
  hour.ended('completed')
  wait(59 * MINUTE)
  expect(hour.read().completed[0]).toBe(1)
  wait(MINUTE)
  expect(hour.read().completed).toEqual(Array(60).fill(0))
  hour.ended('completed')
  expect(hour.read().completed).toEqual([...Array(59).fill(0), 1])
})

test('agrees with a list of all ends, whatever the gaps between them', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 * MINUTE }), { maxLength: 100 }), (gaps) => {
      const { hour, wait, now } = hourAt()
      const ends: number[] = []
      for (const gap of gaps) {
        wait(gap)
        hour.ended('failed')
        ends.push(Math.floor(now() / MINUTE))
      }
      const last = Math.floor(now() / MINUTE)
      const expected = Array.from({ length: 60 }, (_, i) => ends.filter((at) => at === last - 59 + i).length)
      expect(hour.read().failed).toEqual(expected)
    }),
  )
})
