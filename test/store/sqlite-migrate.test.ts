// A database of an earlier release: its jobs are all there afterwards, as if they had been written by this one.
import { expect, test } from 'vitest'
import { openAt } from './open.js'
import { databaseOfSchema1 } from './schema1.js'
import { T0 } from './suite/stage.js'

test('jobs, attempts and counts of schema 1 are kept, with what they take', async () => {
  const { store } = openAt(databaseOfSchema1())
  expect(await store.get('job-1')).toMatchObject({ status: 'completed', artifacts: null, payload_bytes: 4, bytes: 6 })
  expect(await store.get('job-2')).toMatchObject({ status: 'pending', payload_bytes: 2, bytes: 2 })
  expect(await store.attempts('job-1')).toMatchObject([{ run: 1, reason: 'completed', reason_detail: null }])
  expect(await store.counts()).toEqual({
    a: { now: { completed: 1, pending: 1 }, bytes: 8, ever: {} },
    b: { now: { failed: 1 }, bytes: 2, ever: {} },
  })
})

test('jobs of schema 1 go through the verbs of this release', async () => {
  const { store } = openAt(databaseOfSchema1())
  const keep = { max_count: 0, max_bytes: null, finished_before: null, limit: 10 }
  const pruned = await store.prune({ ...keep, status: ['completed', 'failed'], types: { except: [] } })
  expect([pruned.ids, pruned.bytes]).toEqual([['job-1', 'job-3'], 8])
  const shares = [{ type: 'a', limit: 1, reserved: 0 }]
  const { claimed } = await store.claim({ node: 'n', shares, slots: [1], now: T0 })
  expect(claimed.map(({ id }) => id)).toEqual(['job-2'])
  expect(await store.counts()).toMatchObject({ a: { now: { processing: 1 }, bytes: 2 } })
})
