// Ids order jobs, also where the clock does not.
import { validate, version } from 'uuid'
import { expect, test } from 'vitest'
import { createIds } from '../src/ids.js'

test('ids are UUIDv7, all different, and rise within a millisecond and with a clock set back', () => {
  const times = [5_000, 5_000, 5_001, 4_000, 4_000, 9_000]
  let step = 0
  const newId = createIds(() => 1_700_000_000_000 + (times[Math.floor(step++ / 1_000)] ?? 0))
  const ids = Array.from({ length: times.length * 1_000 }, newId)
  expect(ids.every((id) => validate(id) && version(id) === 7)).toBe(true)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toEqual(ids.toSorted())
})

test('ids of two processes at the same time differ', () => {
  const [one, two] = [createIds(() => 1_700_000_000_000), createIds(() => 1_700_000_000_000)]
  expect(one()).not.toBe(two())
})
