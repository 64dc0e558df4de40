// How slots are shared: bounds and reservations hold for any load, and no free slot is kept from a job that may have it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pick, sharesOf, type TypeLimits } from '../src/slot-shares.js'

const limits = (name: string, more: Partial<TypeLimits> = {}): TypeLimits => ({
  name,
  concurrency: null,
  reserved: 0,
  rate: null,
  ...more,
})
const none = new Map<string, number>()
const queue = (...types: string[]) => types.map((type) => ({ type }))

function taken(
  types: TypeLimits[],
  running: Map<string, number>,
  slots: number,
  waiting: { type: string }[],
): string[] {
  const free = slots - [...running.values()].reduce((sum, n) => sum + n, 0)
  return pick(waiting, sharesOf(types, running, slots, free), free).map(({ type }) => type)
}

describe('the shares of types', () => {
  test('are all free slots where nothing is bound or reserved', () => {
    expect(taken([limits('a'), limits('b')], none, 3, queue('a', 'b', 'a', 'b'))).toEqual(['a', 'b', 'a'])
  })

  test('leave reserved slots free for their type', () => {
    const types = [limits('export'), limits('email', { reserved: 1 })]
    expect(taken(types, none, 3, queue('export', 'export', 'export'))).toEqual(['export', 'export'])
    expect(taken(types, new Map([['export', 2]]), 3, queue('export', 'email', 'email'))).toEqual(['email'])
  })

  test('count running jobs against what is reserved for them', () => {
    const types = [limits('export'), limits('email', { reserved: 1 })]
    expect(taken(types, new Map([['email', 1]]), 3, queue('export', 'export'))).toEqual(['export', 'export'])
  })

  test('let a type go beyond what is reserved for it', () => {
    const types = [limits('export'), limits('email', { reserved: 1 })]
    expect(taken(types, none, 3, queue('email', 'email', 'email'))).toEqual(['email', 'email', 'email'])
  })

  test('end at the concurrency of a type', () => {
    const types = [limits('a', { concurrency: 2 }), limits('b')]
    expect(taken(types, new Map([['a', 1]]), 5, queue('a', 'a', 'a', 'b'))).toEqual(['a', 'b'])
  })

  test('keep one slot for all types when there are fewer slots than were reserved', () => {
    const types = [limits('a', { reserved: 3 }), limits('b', { reserved: 3 }), limits('c')]
    expect(taken(types, none, 2, queue('c', 'c'))).toEqual(['c'])
    expect(taken(types, none, 1, queue('c'))).toEqual(['c'])
  })
})

test('for any load: no bound is broken, no reserved slot is taken, and no slot is free that a waiting job may have', () => {
  const type = fc.record({
    concurrency: fc.option(fc.integer({ min: 1, max: 6 }), { nil: null }),
    reserved: fc.nat(4),
    running: fc.nat(4),
  })
  fc.assert(
    fc.property(
      fc.array(type, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.nat(3), { maxLength: 30 }),
      (given, slots, order) => {
        const types = given.map(({ concurrency, reserved }, i) => limits(`t${i}`, { concurrency, reserved }))
        const reserved = given.reduce((sum, type) => sum + type.reserved, 0)
        const running = new Map(given.map((type, i) => [`t${i}`, Math.min(type.running, type.concurrency ?? 9)]))
        const busy = [...running.values()].reduce((sum, n) => sum + n, 0)
        fc.pre(busy <= slots && reserved < slots)
        const waiting = order.filter((i) => i < given.length).map((i) => ({ type: `t${i}` }))
        const picked = taken(types, running, slots, waiting)

        const held = (name: string) => (running.get(name) ?? 0) + picked.filter((type) => type === name).length
        const total = types.reduce((sum, { name }) => sum + held(name), 0)
        expect(total).toBeLessThanOrEqual(slots)
        for (const { name, concurrency } of types) expect(held(name)).toBeLessThanOrEqual(concurrency ?? slots)
        // Jobs beyond what is reserved for their type leave alone what is reserved for others.
        const kept = ({ name, reserved, concurrency }: TypeLimits) =>
          Math.max(0, Math.min(reserved, concurrency ?? slots) - (running.get(name) ?? 0))
        const common = slots - busy - types.reduce((sum, type) => sum + kept(type), 0)
        const beyond = types.map((type) => Math.max(0, held(type.name) - (running.get(type.name) ?? 0) - kept(type)))
        expect(beyond.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(Math.max(0, common))
        // A job that was left has met the bound of its type, or the free slots are others'.
        const left = waiting.filter(
          ({ type }) => picked.filter((t) => t === type).length < waiting.filter((w) => w.type === type).length,
        )
        for (const { type } of left) {
          const own = types.find(({ name }) => name === type) as TypeLimits
          const others = types
            .filter((other) => other !== own)
            .reduce(
              (sum, other) =>
                sum + Math.max(0, Math.min(other.reserved, other.concurrency ?? slots) - held(other.name)),
              0,
            )
          const bound = held(type) >= (own.concurrency ?? slots)
          expect(bound || slots - total <= others).toBe(true)
        }
      },
    ),
  )
})
