// Pauses: what is paused is not claimed, on no node and after no restart, until it is resumed; all else goes on.
import { expect, test } from 'vitest'
import { complete, ids, type Stage, T0 } from './stage.js'

const NONE = { all: false, types: [] }

export function pausing(stage: () => Promise<Stage>): void {
  test('nothing is paused at first', async () => {
    const { store } = await stage()
    expect(await store.pauses()).toEqual(NONE)
  })

  test('a paused type is not claimed, others are, and it is again when resumed', async () => {
    const the = await stage()
    const [a, b] = [await the.add(), await the.add({ type: 'b' })]
    expect(await the.store.pause('a', true)).toEqual({ all: false, types: ['a'] })
    expect(ids(await the.claim([1, 2], { types: ['a', 'b'] }))).toEqual([b.id])
    expect(await the.store.pause('a', false)).toEqual(NONE)
    expect(ids(await the.claim([3], { types: ['a', 'b'] }))).toEqual([a.id])
  })

  test('with all paused nothing is claimed; single pauses are lifted by themselves', async () => {
    const the = await stage()
    const [, b] = [await the.add(), await the.add({ type: 'b' })]
    await the.store.pause('a', true)
    expect(await the.store.pause(null, true)).toEqual({ all: true, types: ['a'] })
    expect(await the.claim([1, 2], { types: ['a', 'b'] })).toEqual([])
    expect(await the.store.pause(null, false)).toEqual({ all: false, types: ['a'] })
    expect(ids(await the.claim([1, 2], { types: ['a', 'b'] }))).toEqual([b.id])
  })

  test('what runs when its type is paused ends as it would, and what is due becomes pending', async () => {
    const the = await stage()
    const job = await the.running({ type: 'a' })
    const later = await the.add({ run_at: T0 + 50 })
    await the.store.pause('a', true)
    expect(await the.end(job, complete)).toMatchObject({ status: 'completed' })
    const { promoted } = await the.store.tick({ node: the.node, now: T0 + 50 })
    expect(ids(promoted)).toEqual([later.id])
    expect(await the.claim([1], { at: T0 + 60 })).toEqual([])
  })

  test('pausing twice, or resuming what runs, changes nothing', async () => {
    const { store } = await stage()
    for (let i = 0; i < 2; i += 1) expect(await store.pause('b', true)).toEqual({ all: false, types: ['b'] })
    expect(await store.pause('a', false)).toEqual({ all: false, types: ['b'] })
    for (let i = 0; i < 2; i += 1) expect(await store.pause('b', false)).toEqual(NONE)
  })

  test('pauses survive a crash, and hold on every node', async () => {
    const the = await stage()
    await the.add()
    await the.store.pause('a', true)
    await the.store.pause('b', true)
    for (const store of await the.stores()) expect(await store.pauses()).toEqual({ all: false, types: ['a', 'b'] })
    await the.crash()
    expect(await the.store.pauses()).toEqual({ all: false, types: ['a', 'b'] })
    expect(await the.claim([1])).toEqual([])
  })
}
