// The negative controls of the fault of ticks: they mostly wait for ticks, beside those of the other faults.
import { describe, expect, test } from 'vitest'
import { tryTicks } from '../../src/torture/faults/ticks.js'
import { build, type Change, violationsOf } from './sabotage.js'

/** Both protections of a tick: its record is unique, and it is over in the transaction of its job. */
const TICK_OVER_LATER: Change[] = [
  [
    'src/store/sqlite/schedules.js',
    "const move = db.prepare('UPDATE schedules SET next_at = ? WHERE name = ?')",
    `const moved = db.prepare('UPDATE schedules SET next_at = ? WHERE name = ?')
    const move = { run: (...values) => setTimeout(() => moved.run(...values), 20) }`,
  ],
  ['src/store/sqlite/schedules.js', 'if (!write(name, entry))', 'if (!write(name, entry) && false)'],
]
const EVENTS_GONE_LATER: Change[] = [
  [
    'src/store/sqlite/digests.js',
    'take(cut) {',
    'take(cut) { setTimeout(() => this.takeNow(cut), 20) }, takeNow(cut) {',
  ],
]

/** So many that there are mails, also where a busy machine gives a server little time before its kill. */
const KILLS = 6

describe('is caught', () => {
  test('a tick that is over only after the transaction of its job, by kills at ticks', async () => {
    expect(await violationsOf(tryTicks(build(TICK_OVER_LATER), KILLS))).toContainEqual(
      expect.stringMatching(/jobs belong to no tick/),
    )
  }, 120_000)

  test('events that go only after the transaction of their mail, by kills at ticks', async () => {
    expect(await violationsOf(tryTicks(build(EVENTS_GONE_LATER), KILLS))).toContainEqual(
      expect.stringMatching(/events are in a second mail/),
    )
  }, 120_000)
})

test('an unchanged copy is not: the control of the controls', async () => {
  expect(await violationsOf(tryTicks(build(), KILLS))).toEqual([])
})
