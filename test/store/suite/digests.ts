// Digests: each event is in one mail, whoever sends it, however often, whatever dies meanwhile.
import { v7 } from 'uuid'
import { expect, test } from 'vitest'
import type { DigestContent } from '../../../src/digests/events.js'
import type { Fire, Schedule, Store } from '../../../src/store/store.js'
import { aJob, anError, complete, DIGESTS, NO_BOUNDS, type Stage, T0 } from './stage.js'

const [ops] = DIGESTS
const EVERY = 1_000

const event = (text: string, kind = 'signup') => ({ kind, text, created_at: T0 })
const textsOf = ({ events }: DigestContent) => events.map(({ text }) => text)

async function put(store: Store): Promise<Schedule> {
  const more = { document: '{}', anchor: T0, created_at: T0, updated_at: T0, paused_at: null, delay: null }
  const after = { name: 'digest.ops', source: 'config' as const, next_at: T0 + EVERY, ...more }
  return (await store.putSchedule({ before: null, after })) as Schedule
}

/** A mail about what was read. */
function aMail({ name, updated_at, next_at }: Schedule, content: DigestContent): Fire {
  const tick_at = next_at ?? T0
  const job = aJob({ type: 'mail', schedule: name }, tick_at)
  const ticks = [{ tick_at, until: tick_at, asked: false, job_id: null, reason: 'on_time', job, takes: content.cut }]
  return { name, updated_at, from: next_at, next_at: tick_at + EVERY, queue: true, ticks, now: tick_at }
}

const asked = (fire: Fire, at: number): Fire => {
  const ticks = fire.ticks.map((tick) => ({
    ...tick,
    asked: true,
    tick_at: at,
    until: at,
    job: aJob({ type: 'mail' }),
  }))
  return { ...fire, from: null, next_at: null, ticks }
}

export function digesting(stage: () => Promise<Stage>): void {
  test('events read back in their order; those of other digests are not among them', async () => {
    const { store } = await stage()
    expect(await store.digest('ops')).toMatchObject({ events: [], unlisted: 0 })
    expect(await store.addDigestEvent(ops, event('one'))).toBe(true)
    expect(await store.addDigestEvent(ops, event('two', 'order'))).toBe(true)
    expect(await store.addDigestEvent({ ...ops, name: 'sales' }, event('three'))).toBe(true)
    expect((await store.digest('ops')).events).toEqual([event('one'), event('two', 'order')])
    expect(textsOf(await store.digest('sales'))).toEqual(['three'])
  })

  test('a mail takes what it tells; what came after it was read waits for the next', async () => {
    const { store } = await stage()
    const schedule = await put(store)
    await store.addDigestEvent(ops, event('one'))
    const read = await store.digest('ops')
    await store.addDigestEvent(ops, event('two'))
    expect((await store.fire([aMail(schedule, read)], NO_BOUNDS))[0]?.jobs).toHaveLength(1)
    expect(textsOf(await store.digest('ops'))).toEqual(['two'])
  })

  test('of mails about the same events one takes effect, whoever asks', async () => {
    const the = await stage()
    const stores = await the.stores()
    const schedule = await put(the.store)
    await the.store.addDigestEvent(ops, event('one'))
    const read = await the.store.digest('ops')
    const mails = [1, 2, 3].map((n) => asked(aMail(schedule, read), T0 + n))
    const due = aMail(schedule, read)
    const fired = await Promise.all(
      [...mails, due].map((fire, i) => (stores[i % stores.length] as Store).fire([fire], NO_BOUNDS)),
    )
    expect(fired.flat().flatMap(({ jobs }) => jobs)).toHaveLength(1)
    expect((await the.store.list({ type: 'mail' }, 10, null)).jobs).toHaveLength(1)
    expect((await the.store.digest('ops')).events).toEqual([])
  })

  test('so it is with events that were counted only', async () => {
    const the = await stage()
    const schedule = await put(the.store)
    const small = { ...ops, max_bytes: 1 }
    expect(await the.store.addDigestEvent(small, event('one'))).toBe(false)
    while (await the.store.addDigestEvent(ops, event('x')));
    await the.end(await the.running(), { verb: 'fail', error: anError() })
    const read = await the.store.digest('ops')
    expect(read.unlisted).toBe(1)
    const twice = await the.store.fire([aMail(schedule, read)], NO_BOUNDS)
    const again = await the.store.fire([asked(aMail(schedule, read), T0 + 7)], NO_BOUNDS)
    expect([twice.length, again.length]).toEqual([1, 0])
    expect(await the.store.digest('ops')).toMatchObject({ events: [], unlisted: 0 })
    expect(await the.store.addDigestEvent(ops, event('room again'))).toBe(true)
  })

  test('a mail that is not made takes nothing: no room, or one before it is not over', async () => {
    const { store } = await stage()
    const schedule = await put(store)
    await store.addDigestEvent(ops, event('one'))
    await store.fire([aMail(schedule, await store.digest('ops'))], { ...NO_BOUNDS, max_stored: 0 })
    expect(textsOf(await store.digest('ops'))).toEqual(['one'])
    const next = async () => aMail((await store.schedule('digest.ops')) as Schedule, await store.digest('ops'))
    await store.fire([await next()], NO_BOUNDS)
    await store.addDigestEvent(ops, event('two'))
    await store.fire([{ ...(await next()), queue: false }], NO_BOUNDS)
    expect(textsOf(await store.digest('ops'))).toEqual(['two'])
    expect((await store.ticks('digest.ops', 9)).map(({ reason }) => reason)).toEqual(['overlap', 'on_time', 'no_room'])
  })

  test('the ends of jobs that it asks for are events, but for those of its own mails', async () => {
    const the = await stage()
    const failing = { verb: 'fail', error: { ...anError(), message: 'no\nway' } } as const
    const failed = await the.running({ type: 'report' })
    await the.end(failed, failing)
    await the.end(await the.running(), complete)
    await the.end(await the.running({ schedule: 'digest.ops' }), failing)
    const { events } = await the.store.digest('ops')
    expect(events).toMatchObject([{ kind: 'report failed', text: expect.stringContaining(failed.id) }])
    expect(events[0]?.text).toMatch(/no way/)
  })

  test('events, and that they were taken, survive a crash', async () => {
    const the = await stage()
    const schedule = await put(the.store)
    await the.store.addDigestEvent(ops, event(v7()))
    const read = await the.store.digest('ops')
    await the.crash()
    expect(await the.store.digest('ops')).toEqual(read)
    await the.store.fire([aMail(schedule, read)], NO_BOUNDS)
    await the.crash()
    expect((await the.store.digest('ops')).events).toEqual([])
    expect(await the.store.fire([asked(aMail(schedule, read), T0 + 3)], NO_BOUNDS)).toEqual([])
  })
}
