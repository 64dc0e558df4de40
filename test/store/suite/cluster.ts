// What nodes know of each other: beats, leases, wishes and hints.
import { expect, test } from 'vitest'
import type { Job } from '../../../src/job.js'
import { type Beat, type Cluster, type Member, MOST_HINT_BYTES } from '../../../src/store/cluster.js'
import type { Store } from '../../../src/store/store.js'
import { until } from '../../support/until.js'
import { complete, ids, type Stage, T0 } from './stage.js'

const clusterOf = ({ cluster }: Store): Cluster => {
  if (cluster === null) throw new Error('this store is for one node')
  return cluster
}

/** Joins, and keeps what it is told. */
function join(store: Store, runs: () => Job[] = () => [], about = '{}') {
  const told = { beats: [] as Beat[], hints: [] as string[], gaps: 0 }
  const member: Member = {
    about: () => about,
    runs: () => runs().map(({ id, run }) => ({ id, run })),
    onBeat: (beat) => void told.beats.push(beat),
    onHint: (text) => void told.hints.push(text),
    onGap() {
      told.gaps += 1
    },
  }
  const cluster = clusterOf(store)
  cluster.join(member)
  const beat = async () => {
    await cluster.beat()
    return told.beats.at(-1) as Beat
  }
  return { ...told, told, cluster, beat }
}

export function meeting(stage: () => Promise<Stage>): void {
  test('each node sees all, with what they tell of themselves, until they take leave', async () => {
    const the = await stage()
    const other = await the.join('other')
    await join(the.store, () => [], '{"slots":1}').beat()
    await join(other, () => [], '{"slots":2}').beat()
    const seen = (await clusterOf(the.store).nodes()).map(({ id, alive, draining, about }) => [
      id,
      alive,
      draining,
      about,
    ])
    expect(seen).toEqual([
      [the.node, true, false, '{"slots":1}'],
      ['other', true, false, '{"slots":2}'],
    ])
    const [me] = await clusterOf(other).nodes()
    expect(Math.abs(Number(me?.heartbeat_at) - Date.now())).toBeLessThan(60_000)
    expect(Number(me?.started_at)).toBeLessThanOrEqual(Number(me?.heartbeat_at))
    await the.expire('other')
    expect(await clusterOf(the.store).nodes()).toMatchObject([{ alive: true }, { id: 'other', alive: false }])
    await other.close()
    expect(await clusterOf(the.store).nodes()).toHaveLength(1)
  })

  test('a hint is heard by all others, in order, and not by who sends it', async () => {
    const the = await stage()
    const stores = await the.stores()
    const members = stores.map((store) => join(store))
    for (const { beat } of members) await beat()
    const [first, ...others] = members
    const long = 'ä'.repeat(MOST_HINT_BYTES / 2)
    for (const text of ['one', 'two', long]) await first?.cluster.hint(text)
    for (const { told } of others) {
      await until('hints are heard', () => told.hints.length === 3)
      expect(told.hints).toEqual(['one', 'two', long])
    }
    expect(first?.told.hints).toEqual([])
  })

  test('a node whose connection was cut is told that it may have missed hints, and hears the next ones', async () => {
    const the = await stage()
    const other = await the.join('other')
    const [here, there] = [join(the.store), join(other)]
    await here.beat()
    await there.beat()
    const { gaps } = there.told
    await the.cut('other')
    await until('it listens again', async () => {
      await there.beat()
      return there.told.gaps > gaps
    })
    await here.cluster.hint('again')
    await until('it hears', () => there.told.hints.includes('again'))
  })

  test('a beat tells which runs are lost and which are to be cancelled', async () => {
    const the = await stage()
    const other = await the.join('other')
    const jobs = [await the.running(), await the.running(), await the.running()] as const
    const { beat } = join(the.store, () => [...jobs])
    expect(await beat()).toMatchObject({ lost: [], cancel_requested: [], rescue: false })
    await other.cancel(jobs[0].id, 'no more', T0 + 5)
    await the.end(jobs[1], complete)
    expect(await beat()).toMatchObject({
      lost: [{ id: jobs[1].id, run: 1 }],
      cancel_requested: [{ id: jobs[0].id, run: 1 }],
    })
    await the.expire(the.node)
    const { rescued } = await other.tick({ node: 'other', now: T0 + 50 })
    expect(ids(rescued).sort()).toEqual([jobs[0].id, jobs[2].id].sort())
    expect((await beat()).lost.map(({ id }) => id).sort()).toEqual(ids([...jobs]).sort())
  })

  test('a beat tells that runs of a dead node wait, until they are rescued', async () => {
    const the = await stage()
    const other = await the.join('other')
    const { beat } = join(other)
    await the.running()
    expect((await beat()).rescue).toBe(false)
    await the.expire(the.node)
    expect((await beat()).rescue).toBe(true)
    await other.tick({ node: 'other', now: T0 + 50 })
    expect((await beat()).rescue).toBe(false)
  })

  test('a node that has just come, or come back, takes no other for dead', async () => {
    const the = await stage()
    const job = await the.running()
    await the.expire(the.node)
    const fresh = await the.join('fresh')
    expect((await fresh.tick({ node: 'fresh', now: T0 + 50 })).rescued).toEqual([])
    // All leases were over, as after a time without the database: it is the first that beats again.
    await the.expire('fresh')
    await clusterOf(fresh).beat()
    expect((await fresh.tick({ node: 'fresh', now: T0 + 60 })).rescued).toEqual([])
    await the.expire(the.node)
    expect(ids((await fresh.tick({ node: 'fresh', now: T0 + 70 })).rescued)).toEqual([job.id])
  })

  test('a wish reaches the node that it is for, or all, and is numbered', async () => {
    const the = await stage()
    const other = await the.join('other')
    const [here, there] = [join(the.store), join(other)]
    expect((await there.beat()).orders).toEqual({ number: 0, max_workers: null, draining: false })
    expect(await here.cluster.ask('other', { draining: true })).toEqual(['other'])
    expect(await here.cluster.ask('nobody', { draining: true })).toEqual([])
    expect((await here.cluster.ask(null, { max_workers: 3 })).sort()).toEqual([the.node, 'other'].sort())
    expect((await there.beat()).orders).toEqual({ number: 2, max_workers: 3, draining: true })
    expect((await here.beat()).orders).toEqual({ number: 1, max_workers: 3, draining: false })
    await here.cluster.ask('other', { draining: false })
    expect((await there.beat()).orders).toEqual({ number: 3, max_workers: 3, draining: false })
    await the.expire('other')
    expect(await here.cluster.ask(null, { max_workers: 4 })).toEqual([the.node])
  })

  test('jobs are read many at a time', async () => {
    const the = await stage()
    const jobs = [await the.add({ type: 'x' }), await the.add({ type: 'y' })]
    const found = await clusterOf(the.store).jobs([...ids(jobs), 'nobody'])
    expect(found.sort((a, b) => (a.id < b.id ? -1 : 1)).map(({ type, status }) => [type, status])).toEqual([
      ['x', 'pending'],
      ['y', 'pending'],
    ])
    expect(found[0]).not.toHaveProperty('payload')
  })
}
