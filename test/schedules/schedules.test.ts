// The core of schedules on a real store, with a clock that jumps.

import { Cron } from 'croner'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createEventBus, type ServiceEvent } from '../../src/events.js'
import { createIds } from '../../src/ids.js'
import type { JobType } from '../../src/job-types.js'
import { createFiring } from '../../src/schedules/firing.js'
import { createSchedules } from '../../src/schedules/schedules.js'
import { openFresh } from '../store/open.js'
import { NO_BOUNDS, RULES } from '../store/suite/stage.js'

const T0 = Date.UTC(2026, 0, 15)
const DAY = 86_400_000
const ANY = { name: 'any', disabled: null, payload: null, timeout_ms: 60_000, retry_count: 3 } as JobType
const JOB = { type: 'any' }

function stage() {
  let now = T0
  const { store, db } = openFresh()
  const bus = createEventBus()
  const events: ServiceEvent[] = []
  bus.subscribe((event) => void events.push(event))
  const options = {
    store,
    bus,
    rules: RULES,
    submissionRules: { types: new Map([['any', ANY]]), max_payload: 1_000 },
    bounds: NO_BOUNDS,
    now: () => now,
    newId: createIds(() => now),
  }
  const [schedules, firing] = [createSchedules(options), createFiring(options)]
  return {
    store,
    db,
    events,
    schedules,
    now: () => now,
    /** Fires all that is due then. */
    async at(time: number): Promise<void> {
      now = time
      for (let next: number | null = time; next !== null && next <= now; ) next = await firing.fireDue()
    },
  }
}

test('over years, however the clock jumps, exactly the instants of the calendar make a job, each one', async () => {
  const jumps = fc.array(fc.integer({ min: -2 * DAY, max: 40 * DAY }), { minLength: 5, maxLength: 40 })
  const crons = fc.constantFrom('30 2 * * *', '0 8 * * 1', '0 12 1 * *', '59 23 28-31 * *', '15 1 * 3,10,11 sun')
  const zones = fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC')
  await fc.assert(
    fc.asyncProperty(jumps, crons, zones, async (jumps, cron, time_zone) => {
      const { store, schedules, at, now } = stage()
      const every = { catch_up: 'all', max_catch_up: 500, max_lateness: '3650d', job: JOB }
      await schedules.put('s', { cron, time_zone, ...every }, 'http')
      let last = T0
      for (const jump of jumps) {
        await at(now() + jump)
        last = Math.max(last, now())
      }
      const ticks = (await store.ticks('s', 1_000)).reverse()
      const expected: number[] = []
      const calendar = new Cron(cron, { timezone: time_zone, paused: true })
      for (
        let next = calendar.nextRun(new Date(T0));
        next !== null && next.getTime() <= last;
        next = calendar.nextRun(next)
      )
        expected.push(next.getTime())
      expect(ticks.map(({ tick_at }) => tick_at)).toEqual(expected)
      expect(new Set(ticks.map(({ job_id }) => job_id)).size).toBe(expected.length)
      expect((await store.counts()).any?.now.pending ?? 0).toBe(expected.length)
      await store.close()
    }),
    { numRuns: 25 },
  )
}, 60_000)

test('one that cannot be read any more keeps no other one from firing, and is told', async () => {
  const { store, db, events, schedules, at } = stage()
  for (const name of ['a', 'broken', 'z']) await schedules.put(name, { cron: '0 * * * *', job: JOB }, 'http')
  db.exec(`UPDATE schedules SET document = replace(document, '"UTC"', '"Gone/Zone"') WHERE name = 'broken'`)
  await at(T0 + 3_600_000)
  for (const name of ['a', 'z']) expect(await store.ticks(name, 9)).toMatchObject([{ reason: 'on_time' }])
  expect(await store.ticks('broken', 9)).toMatchObject([{ reason: 'unreadable', job_id: null }])
  expect(await store.schedule('broken')).toMatchObject({ next_at: T0 + 3_660_000 })
  expect(events).toContainEqual(expect.objectContaining({ kind: 'pass_failed', loop: 'schedule broken' }))
  await schedules.put('broken', { cron: '0 * * * *', job: JOB }, 'http')
  await at(T0 + 7_200_000)
  expect((await store.ticks('broken', 1))[0]).toMatchObject({ reason: 'on_time' })
})

test('a thousand that are due at once are fired in transactions of a hundred', async () => {
  const { store, schedules, now, at } = stage()
  await Promise.all(
    Array.from({ length: 1_000 }, (_, i) => schedules.put(`s${i}`, { cron: '0 * * * *', job: JOB }, 'http')),
  )
  await at(T0 + 1)
  expect((await store.counts()).any).toBeUndefined()
  expect((await store.dueSchedules(T0 + 3_600_000, 2_000)).due).toHaveLength(1_000)
  await at(T0 + 3_600_000)
  expect((await store.counts()).any?.now.pending).toBe(1_000)
  expect((await store.dueSchedules(now(), 1)).due).toEqual([])
})

test('a tick whose type is gone, or whose job does not fit any more, says so and makes none', async () => {
  const { store, db, schedules, at } = stage()
  await schedules.put('s', { cron: '0 * * * *', job: JOB }, 'http')
  db.exec(`UPDATE schedules SET document = replace(document, '"any"', '"gone"')`)
  await at(T0 + 3_600_000)
  expect(await store.ticks('s', 9)).toMatchObject([{ reason: 'unknown_type', job_id: null }])
  expect(await store.schedule('s')).toMatchObject({ next_at: T0 + 7_200_000 })
})
