// Schedules: a tick has one record and at most one job, whoever fires it, however often, whatever dies meanwhile.
import { expect, test } from 'vitest'
import type { Fire, Schedule, Store } from '../../../src/store/store.js'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

const EVERY = 1_000

function aSchedule(more: Partial<Schedule> = {}): Omit<Schedule, 'totals'> {
  return {
    name: 'nightly',
    source: 'http',
    document: '{"every":1000}',
    anchor: T0,
    created_at: T0,
    updated_at: T0,
    paused_at: null,
    next_at: T0 + EVERY,
    delay: null,
    ...more,
  }
}

async function put(store: Store, more: Partial<Schedule> = {}): Promise<Schedule> {
  const schedule = await store.putSchedule({ before: null, after: aSchedule(more) })
  expect(schedule).not.toBeNull()
  return schedule as Schedule
}

/** Fires the next tick, with a job where `runs`. */
function aFire({ name, updated_at, next_at }: Schedule, more: Partial<Fire> = {}, runs = true): Fire {
  const tick_at = next_at ?? T0
  const job = runs ? aJob({ type: name, schedule: name }, tick_at) : null
  const ticks = [{ tick_at, until: tick_at, asked: false, job_id: null, reason: runs ? 'on_time' : 'missed', job }]
  return { name, updated_at, from: next_at, next_at: tick_at + EVERY, queue: false, ticks, now: tick_at, ...more }
}

const jobOf = (fire: Fire) => fire.ticks[0]?.job?.id

export function scheduling(stage: () => Promise<Stage>): void {
  test('a schedule reads back field by field; lists and what is due come in order, a piece at a time', async () => {
    const { store } = await stage()
    expect(await put(store)).toEqual({ ...aSchedule(), totals: null })
    expect(await store.schedule('nightly')).toEqual({ ...aSchedule(), totals: null })
    await put(store, { name: 'a', next_at: T0 + 10 })
    await put(store, { name: 'paused', next_at: T0 + 5, paused_at: T0 })
    await put(store, { name: 'over', next_at: null })
    expect((await store.schedules('', 3)).map(({ name }) => name)).toEqual(['a', 'nightly', 'over'])
    expect((await store.schedules('over', 3)).map(({ name }) => name)).toEqual(['paused'])
    const due = async (now: number, limit = 10) => {
      const answer = await store.dueSchedules(now, limit)
      return [answer.due.map(({ name }) => name), answer.next_at]
    }
    expect(await due(T0 + 9)).toEqual([[], T0 + 10])
    expect(await due(T0 + EVERY)).toEqual([['a', 'nightly'], T0 + 10])
    expect(await due(T0 + EVERY, 1)).toEqual([['a'], T0 + 10])
    expect(await store.schedule('none')).toBeNull()
  })

  test('a change of what has changed meanwhile is none', async () => {
    const { store } = await stage()
    const before = await put(store)
    expect(await store.putSchedule({ before: null, after: aSchedule() })).toBeNull()
    const after = aSchedule({ updated_at: T0 + 1, next_at: T0 + 7 })
    expect(await store.putSchedule({ before, after })).toMatchObject({ next_at: T0 + 7 })
    expect(await store.putSchedule({ before, after })).toBeNull()
    // The same document, but fired since it was read.
    const read = (await store.schedule('nightly')) as Schedule
    await store.fire([aFire(read)], NO_BOUNDS)
    expect(await store.putSchedule({ before: read, after: aSchedule({ updated_at: T0 + 2 }) })).toBeNull()
  })

  test('a tick that everybody fires at once makes one job', async () => {
    const the = await stage()
    const schedule = await put(the.store)
    const stores = await the.stores()
    const fires = Array.from({ length: 20 }, () => aFire(schedule))
    const answers = await Promise.all(
      fires.map((fire, i) => (stores[i % stores.length] as Store).fire([fire], NO_BOUNDS)),
    )
    const made = answers.flat().flatMap(({ jobs }) => ids(jobs))
    expect(made).toHaveLength(1)
    expect((await the.store.list({}, 10, null)).jobs).toMatchObject([
      { id: made[0], schedule: 'nightly', status: 'pending' },
    ])
    expect(await the.store.ticks('nightly', 10)).toEqual([
      { tick_at: T0 + EVERY, until: T0 + EVERY, asked: false, job_id: made[0], reason: 'on_time' },
    ])
    expect(await the.store.schedule('nightly')).toMatchObject({ next_at: T0 + 2 * EVERY })
  })

  test('a tick that has its record is not fired again, though the schedule was put back to before it', async () => {
    const { store } = await stage()
    const before = await put(store)
    await store.fire([aFire(before, { queue: true })], NO_BOUNDS)
    const read = (await store.schedule('nightly')) as Schedule
    const again = (await store.putSchedule({ before: read, after: aSchedule({ updated_at: T0 + 9 }) })) as Schedule
    expect(await store.fire([aFire(again, { queue: true })], NO_BOUNDS)).toEqual([
      { name: 'nightly', jobs: [], ticks: [] },
    ])
    expect(await store.schedule('nightly')).toMatchObject({ next_at: T0 + 2 * EVERY })
    expect((await store.list({}, 10, null)).jobs).toHaveLength(1)
  })

  test('one that was paused, changed or deleted since it was read is not fired', async () => {
    const { store } = await stage()
    const paused = await put(store)
    await store.putSchedule({ before: paused, after: aSchedule({ updated_at: T0 + 1, paused_at: T0 + 1 }) })
    const gone = await put(store, { name: 'gone' })
    expect(await store.removeSchedule('gone', 'config')).toBe(false)
    expect(await store.removeSchedule('gone', 'http')).toBe(true)
    expect(await store.fire([aFire(paused), aFire(gone)], NO_BOUNDS)).toEqual([])
    expect((await store.list({}, 10, null)).jobs).toEqual([])
    expect(await store.ticks('nightly', 10)).toEqual([])
  })

  test('while a run is not over a tick is skipped, with its reason, or queued where that is asked for', async () => {
    const the = await stage()
    const fire = async (queue: boolean) => {
      const read = (await the.store.schedule('nightly')) as Schedule
      return the.store.fire([aFire(read, { queue })], NO_BOUNDS)
    }
    await put(the.store)
    expect((await fire(false))[0]?.jobs).toHaveLength(1)
    expect((await fire(false))[0]?.jobs).toEqual([])
    expect((await fire(true))[0]?.jobs).toHaveLength(1)
    for (const job of await the.claim([1, 2], { types: ['nightly'], at: T0 + 9_000 }))
      await the.end(job, { verb: 'fail', error: anError() }, T0 + 9_000)
    expect((await fire(false))[0]?.jobs).toHaveLength(1)
    expect((await the.store.ticks('nightly', 10)).map(({ reason }) => reason)).toEqual([
      'on_time',
      'on_time',
      'overlap',
      'on_time',
    ])
  })

  test('a tick without room for its job says so, and is over', async () => {
    const { store } = await stage()
    const schedule = await put(store)
    await store.fire([aFire(schedule)], { ...NO_BOUNDS, max_stored: 0 })
    expect(await store.ticks('nightly', 1)).toMatchObject([{ reason: 'no_room', job_id: null }])
    expect(await store.schedule('nightly')).toMatchObject({ next_at: T0 + 2 * EVERY })
  })

  test('what somebody asked for leaves the next tick where it is', async () => {
    const { store } = await stage()
    const schedule = await put(store)
    const fire = aFire({ ...schedule, next_at: T0 + 5 }, { from: null, next_at: null })
    for (const tick of fire.ticks) tick.asked = true
    expect(await store.fire([fire], NO_BOUNDS)).toMatchObject([{ jobs: [{ id: jobOf(fire) }] }])
    expect(await store.schedule('nightly')).toMatchObject({ next_at: T0 + EVERY })
    expect(await store.ticks('nightly', 1)).toMatchObject([{ asked: true, tick_at: T0 + 5 }])
  })

  test('a delay counts from the end of the run, whatever its outcome, also after a crash; runs are added up', async () => {
    const the = await stage()
    await put(the.store, { delay: 500 })
    const run = async (step: Parameters<Stage['end']>[1], at: number) => {
      const read = (await the.store.schedule('nightly')) as Schedule
      await the.store.fire([aFire(read, { next_at: 'after_run' })], NO_BOUNDS)
      expect(await the.store.schedule('nightly')).toMatchObject({ next_at: null })
      const claim = async () => (await the.claim([1], { types: ['nightly'], at }))[0]
      await claim()
      await the.crash()
      await the.store.tick({ node: the.node, now: at })
      await the.end((await claim()) as never, step, at)
      expect(await the.store.schedule('nightly')).toMatchObject({ next_at: at + 500 })
    }
    await run({ verb: 'complete', result: '{"rows":3,"files":{"bytes":10},"name":"x"}', artifacts: [] }, T0 + 5_000)
    await run({ verb: 'fail', error: anError() }, T0 + 7_000)
    await run({ verb: 'complete', result: '{"rows":4}', artifacts: [] }, T0 + 9_000)
    expect((await the.store.schedule('nightly'))?.totals).toMatchObject({
      completed: 2,
      failed: 1,
      cancelled: 0,
      sums: { rows: 7, 'files.bytes': 10 },
      last_ended_at: T0 + 9_000,
    })
  })

  test('a delay goes on where its tick made no job', async () => {
    const { store } = await stage()
    const schedule = await put(store, { delay: 500 })
    await store.fire([aFire(schedule, { next_at: 'after_run' }, false)], NO_BOUNDS)
    expect(await store.schedule('nightly')).toMatchObject({ next_at: T0 + EVERY + 500 })
  })

  test('a change while a run goes on waits for its end', async () => {
    const the = await stage()
    const first = await put(the.store, { delay: 500 })
    const fire = aFire(first, { next_at: 'after_run' })
    await the.store.fire([fire], NO_BOUNDS)
    const before = (await the.store.schedule('nightly')) as Schedule
    const after = aSchedule({ delay: 700, updated_at: T0 + 1 })
    expect(await the.store.putSchedule({ before, after })).toMatchObject({ next_at: null, delay: 700 })
    await the.end((await the.claim([1], { types: ['nightly'] }))[0] as never, complete, T0 + 5_000)
    expect(await the.store.schedule('nightly')).toMatchObject({ next_at: T0 + 5_700 })
  })

  test('schedules and their ticks survive a crash; what was not fired is still due', async () => {
    const the = await stage()
    const fire = aFire(await put(the.store))
    await the.store.fire([fire], NO_BOUNDS)
    await the.crash()
    expect(await the.store.schedule('nightly')).toMatchObject({ next_at: T0 + 2 * EVERY })
    expect(await the.store.ticks('nightly', 9)).toMatchObject([{ job_id: jobOf(fire) }])
    expect((await the.store.dueSchedules(T0 + 2 * EVERY, 9)).due).toHaveLength(1)
  })

  test('the latest 1,000 ticks are kept, and none of a schedule that was deleted', async () => {
    const { store } = await stage()
    const schedule = await put(store)
    const ticks = Array.from({ length: 1_100 }, (_, i) => {
      return { tick_at: T0 + i, until: T0 + i, asked: false, job_id: null, reason: 'missed', job: null }
    })
    await store.fire([{ ...aFire(schedule), ticks }], NO_BOUNDS)
    const kept = await store.ticks('nightly', 2_000)
    expect([kept.length, kept.at(-1)?.tick_at]).toEqual([1_000, T0 + 100])
    await store.removeSchedule('nightly', 'http')
    expect(await store.ticks('nightly', 10)).toEqual([])
  })
}
