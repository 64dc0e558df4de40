// Claims: in rank order, only what was asked for, and each job once.
import { expect, test } from 'vitest'
import type { Job, JobWithPayload } from '../../../src/job.js'
import { aJob, anError, ids, NO_BOUNDS, RULES, type Stage, T0, wholly } from './stage.js'

export function claiming(stage: () => Promise<Stage>): void {
  test('a claimed job runs on that node and slot, with its payload, one attempt and one run further', async () => {
    const the = await stage()
    const job = await the.add({ payload: '{"to":"x"}' })
    const [claimed] = await the.claim([7], { at: T0 + 5 })
    expect(claimed).toMatchObject({ id: job.id, payload: '{"to":"x"}', status: 'processing', node: the.node, slot: 7 })
    expect(claimed).toMatchObject({ attempt: 1, run: 1, started_at: T0 + 5, updated_at: T0 + 5, reason: 'claimed' })
    expect(await the.store.get(job.id)).toEqual(claimed)
  })

  test('jobs of a type are claimed first come, first served', async () => {
    const the = await stage()
    const third = await the.add({}, T0 + 3)
    const first = await the.add({}, T0 + 1)
    const second = await the.add({}, T0 + 2)
    expect(ids(await the.claim([1, 2, 3], { at: T0 + 9 }))).toEqual(ids([first, second, third]))
  })

  test('the order holds over all types that were asked for', async () => {
    const the = await stage()
    const jobs: JobWithPayload[] = []
    for (const [i, type] of ['b', 'a', 'c', 'a', 'b', 'c'].entries()) jobs.push(await the.add({ type }, T0 + i))
    expect(ids(await the.claim([1, 2, 3, 4], { types: ['a', 'b', 'c'] }))).toEqual(ids(jobs.slice(0, 4)))
    expect(ids(await the.claim([1, 2, 3, 4], { types: ['c', 'b', 'a'] }))).toEqual(ids(jobs.slice(4)))
  })

  test('a higher priority goes first, until a lower one has waited long enough', async () => {
    const the = await stage()
    const aging = RULES.priority_aging
    const low = await the.add({ priority: 2 }, T0)
    const overtaking = await the.add({ priority: 1, type: 'b' }, T0 + aging - 1)
    const too_late = await the.add({ priority: 1 }, T0 + aging + 1)
    const claimed = await the.claim([1, 2, 3], { types: ['a', 'b'], at: T0 + 2 * aging })
    expect(ids(claimed)).toEqual(ids([overtaking, low, too_late]))
  })

  test('jobs of equal rank go by their ids', async () => {
    const the = await stage()
    const jobs = [aJob(), aJob({ type: 'b' }), aJob(), aJob({ type: 'b' })]
    await the.store.submit(jobs.toReversed(), NO_BOUNDS)
    expect(ids(await the.claim([1, 2, 3, 4], { types: ['b', 'a'] }))).toEqual(ids(jobs))
  })

  test('only jobs of the given types are claimed', async () => {
    const the = await stage()
    const [a, b] = [await the.add({ type: 'a' }), await the.add({ type: 'b' })]
    expect(await the.claim([1, 2], { types: [] })).toEqual([])
    expect(await the.claim([1, 2], { types: ['c'] })).toEqual([])
    expect(ids(await the.claim([1, 2], { types: ['b', 'c'] }))).toEqual([b.id])
    expect(await the.store.get(a.id)).toMatchObject({ status: 'pending', run: 0 })
  })

  test('no more jobs are claimed than there are slots, the best one for the first slot', async () => {
    const the = await stage()
    const jobs = [await the.add(), await the.add(), await the.add()]
    expect(await the.claim([])).toEqual([])
    const claimed = await the.claim([9, 4])
    expect(claimed.map(({ id, slot }) => [id, slot])).toEqual([
      [jobs[0]?.id, 9],
      [jobs[1]?.id, 4],
    ])
    expect(ids(await the.claim([5, 6, 7]))).toEqual([jobs[2]?.id])
    expect(await the.claim([5, 6, 7])).toEqual([])
  })

  test('what is due is promoted first and may be claimed at once', async () => {
    const the = await stage()
    const retrying = await the.running()
    await the.end(retrying, { verb: 'retry', error: anError(), delay: 90 }, T0 + 10)
    const later = await the.add({ run_at: T0 + 50 })
    const much_later = await the.add({ run_at: T0 + 101 })
    const fresh = await the.add({}, T0 + 60)
    const answer = await the.store.claim({ node: the.node, shares: [wholly('a')], slots: [1, 2, 3], now: T0 + 100 })
    expect(ids(answer.promoted).sort()).toEqual(ids([retrying, later]).sort())
    for (const job of answer.promoted) expect(job).toMatchObject({ status: 'pending', run_at: null, reason: 'due' })
    expect(ids(answer.claimed)).toEqual(ids([later, fresh]))
    expect(await the.store.get(retrying.id)).toMatchObject({ status: 'pending', rank: T0 + 100 + 120_000 })
    expect(await the.store.get(much_later.id)).toMatchObject({ status: 'scheduled' })
  })

  test('of many parallel claims, on all nodes that there may be, one gets a job', async () => {
    const the = await stage()
    const jobs = Array.from({ length: 40 }, () => aJob())
    await the.store.submit(jobs, NO_BOUNDS)
    const stores = await the.stores()
    const slots = [1, 2, 3]
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => {
        const which = i % stores.length
        const node = which === 0 ? the.node : `node-1-${which + 1}`
        return stores[which]?.claim({ node, shares: [wholly('a')], slots, now: T0 })
      }),
    )
    const claimed = answers.flatMap((answer) => answer?.claimed ?? [])
    expect(ids(claimed).sort()).toEqual(ids(jobs).sort())
    expect(claimed.every(({ run }) => run === 1)).toBe(true)
  })

  test('a claim after a failed attempt counts it and begins at 0 percent', async () => {
    const the = await stage()
    const first = await the.running({ type: 'a' })
    await the.store.renew([{ id: first.id, run: 1, progress: 80, note: 'nearly', at: T0 + 1 }])
    await the.end(first, { verb: 'retry', error: anError(), delay: 5 }, T0 + 10)
    const [second] = await the.claim([2], { at: T0 + 15 })
    expect(second).toMatchObject({ id: first.id, attempt: 2, run: 2, progress: 0, progress_note: null, slot: 2 })
    expect(second).toMatchObject({ started_at: T0 + 15, run_at: null, error: { message: 'no luck' } })
  })

  test('a share bounds how many jobs of its type are claimed', async () => {
    const the = await stage()
    const jobs = [await the.add(), await the.add(), await the.add(), await the.add({ type: 'b' })]
    const shares = [{ type: 'a', limit: 2, reserved: 0 }, wholly('b')]
    const { claimed } = await the.store.claim({ node: the.node, shares, slots: [1, 2, 3, 4], now: T0 })
    expect(ids(claimed)).toEqual(ids([jobs[0], jobs[1], jobs[3]] as Job[]))
    expect(claimed.map(({ slot }) => slot)).toEqual([1, 2, 3])
  })

  test('reserved slots are left to their type, also when others come first', async () => {
    const the = await stage()
    for (let i = 0; i < 4; i += 1) await the.add({ type: 'long', priority: 1 })
    const shares = [{ type: 'mail', limit: 4, reserved: 2 }, wholly('long')]
    const slots = [1, 2, 3, 4]
    const before = await the.store.claim({ node: the.node, shares, slots, now: T0 })
    expect(before.claimed.map(({ type }) => type)).toEqual(['long', 'long'])
    const mails = [await the.add({ type: 'mail' }), await the.add({ type: 'mail' }), await the.add({ type: 'mail' })]
    const after = await the.store.claim({ node: the.node, shares, slots: [3, 4], now: T0 })
    expect(ids(after.claimed)).toEqual(ids(mails.slice(0, 2)))
  })

  test('a wary claim takes the best-ranked suspect alone; an unwary one does not mind them', async () => {
    const the = await stage()
    const old = [await the.add({ type: 'b', priority: 2 }), await the.add(), await the.add()]
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await the.claim([1, 2, 3], { types: ['a', 'b'] })
      await the.crash()
      await the.store.tick({ node: the.node, now: T0 + crashes })
    }
    const fresh = await the.add({ priority: 1 })
    const wary = (types: string[], slots: number[]) =>
      the.store.claim({ node: the.node, shares: types.map(wholly), slots, now: T0, wary: true })
    const first = await wary(['a'], [1, 2, 3])
    expect([ids(first.claimed), first.suspect]).toEqual([[old[1]?.id], true])
    expect(first.claimed[0]).toMatchObject({ slot: 1, interruptions: 2, status: 'processing' })
    const second = await wary(['a', 'b'], [2, 3])
    expect([ids(second.claimed), second.suspect]).toEqual([[old[0]?.id], true])
    const others = await the.store.claim({ node: the.node, shares: [wholly('a')], slots: [3, 4], now: T0 })
    expect([ids(others.claimed), others.suspect]).toEqual([ids([fresh, old[2]] as Job[]), false])
  })

  test('what was interrupted once, or released or retried since, is no suspect', async () => {
    const the = await stage()
    const [once, twice] = [await the.add({}, T0 + 1), await the.add({ type: 'b' })]
    for (const types of [['b'], ['a', 'b']]) {
      await the.claim([1, 2], { types })
      await the.crash()
      await the.store.tick({ node: the.node, now: T0 })
    }
    const [running] = await the.claim([1], { types: ['b'] })
    await the.end(running as Job, { verb: 'release', detail: 'its node was shut down' })
    const shares = [wholly('a'), wholly('b')]
    const { claimed, suspect } = await the.store.claim({ node: the.node, shares, slots: [1, 2], now: T0, wary: true })
    expect([ids(claimed), suspect]).toEqual([ids([twice, once] as Job[]), false])
  })
}
