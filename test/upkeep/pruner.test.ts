// Retention: which jobs go when, by status and type, on a real store.
import { describe, expect, onTestFinished, test } from 'vitest'
import { createArtifactFolder } from '../../src/artifacts.js'
import { createEventBus } from '../../src/events.js'
import { createIds } from '../../src/ids.js'
import type { Step } from '../../src/job.js'
import type { Retention } from '../../src/settings.js'
import { createTracker } from '../../src/tracker.js'
import { createPruner, policiesOf } from '../../src/upkeep/pruner.js'
import { openFresh } from '../store/open.js'
import { aJob, anError, complete, NO_BOUNDS, RULES, T0, wholly } from '../store/suite/stage.js'
import { freshFolder } from '../support/folder.js'
import { until } from '../support/until.js'

const FOREVER: Retention = { completed: {}, failed: {}, cancelled: {} }
const DAY = 86_400_000

/** A pruner over `n` jobs of each type that ended with each step, a minute apart, the last one at T0. */
async function pruned(
  retention: Retention,
  types: { name: string; retention: Partial<Retention> }[],
  n: number,
  steps: Step[] = [complete],
  now = T0,
) {
  const { store } = openFresh()
  const bus = createEventBus()
  const parts = { node: 'n', rules: RULES, bounds: NO_BOUNDS, now: () => now, newId: createIds(() => now) }
  const files = createArtifactFolder(freshFolder())
  const tracker = createTracker({ store, files, bus, ...parts, refusal: () => null, random: () => 0 })
  for (const { name } of types)
    for (const step of steps) {
      await store.submit(
        Array.from({ length: n }, () => aJob({ type: name }, T0 - DAY)),
        NO_BOUNDS,
      )
      const slots = Array.from({ length: n }, (_, slot) => slot)
      const { claimed } = await store.claim({ node: 'n', shares: [wholly(name)], slots, now: T0 - DAY })
      await store.settle(claimed.map(({ id, run }, i) => ({ id, run, step, now: T0 - 60_000 * (n - 1 - i) })))
    }
  let steps_taken = 0
  bus.subscribe(({ kind }) => {
    if (kind === 'pruned') steps_taken += 1
  })
  const pruner = createPruner({ tracker, bus, retention, types, now: () => now })
  onTestFinished(pruner.stop)
  pruner.start()
  return {
    /** How many jobs are left by status, of one type or of all, once that many are. */
    async leaves(count: number, type?: string): Promise<void> {
      const left = async () => (await store.list({ type }, 10_000, null)).jobs.length
      await until(`${count} jobs are left`, async () => (await left()) === count)
    },
    steps: () => steps_taken,
  }
}

describe('the pruner', () => {
  test('deletes what is older than max_age, and nothing younger', async () => {
    const { leaves } = await pruned(
      { ...FOREVER, completed: { max_age: 60_000 * 5 } },
      [{ name: 'a', retention: {} }],
      20,
    )
    await leaves(6)
  })

  test('keeps max_count jobs of all types together', async () => {
    const types = [
      { name: 'a', retention: {} },
      { name: 'b', retention: {} },
    ]
    const { leaves } = await pruned({ ...FOREVER, completed: { max_count: 7 } }, types, 20)
    await leaves(7)
  })

  test('counts a type that has a bound of its own apart', async () => {
    const types = [
      { name: 'a', retention: {} },
      { name: 'b', retention: { completed: { max_count: 12 } } },
    ]
    const { leaves } = await pruned({ ...FOREVER, completed: { max_count: 7 } }, types, 20)
    await leaves(12, 'b')
    await leaves(7, 'a')
  })

  test('looks at each status by itself', async () => {
    const steps: Step[] = [complete, { verb: 'fail', error: anError() }]
    const { leaves } = await pruned({ ...FOREVER, failed: { max_count: 0 } }, [{ name: 'a', retention: {} }], 20, steps)
    await leaves(20)
  })

  test('keeps no more than max_bytes', async () => {
    const each = '{"n":1}{"rows":3}'.length
    const { leaves } = await pruned(
      { ...FOREVER, completed: { max_bytes: 4 * each } },
      [{ name: 'a', retention: {} }],
      20,
    )
    await leaves(4)
  })

  test('goes on step by step until all is done', async () => {
    const { leaves, steps } = await pruned(
      { ...FOREVER, completed: { max_count: 1 } },
      [{ name: 'a', retention: {} }],
      1_000,
    )
    await leaves(1)
    expect(steps()).toBeGreaterThanOrEqual(10)
  })
})

test('a type’s own retention changes only the keys that it names', () => {
  const retention: Retention = { ...FOREVER, completed: { max_age: 7 * DAY, max_count: 100 } }
  const own = { name: 'a', retention: { completed: { max_count: 5 } } }
  const [all, only] = policiesOf(retention, [own, { name: 'b', retention: {} }])
  expect(all).toMatchObject({ types: { except: ['a'] }, max_age: 7 * DAY, max_count: 100, max_bytes: null })
  expect(only).toMatchObject({ types: { only: ['a'] }, max_age: 7 * DAY, max_count: 5, max_bytes: null })
})
