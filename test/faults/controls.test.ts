// The negative controls of jobmill torture: a build without a protection must be caught by the fault that is there for it.
import { describe, expect, test } from 'vitest'
import { lateWrites } from '../../src/torture/faults/fence.js'
import { ioErrors, tryIoErrors } from '../../src/torture/faults/io.js'
import { powerCut, tryPowerCuts } from '../../src/torture/faults/power.js'
import { fullDisk } from '../../src/torture/faults/space.js'
import { build, type Change, violationsOf } from './sabotage.js'

const NORMAL: Change[] = [
  ['src/store/sqlite/open.js', `pragma('synchronous = FULL')`, `pragma('synchronous = NORMAL')`],
  ['src/store/sqlite/open.js', 'sync !== 2', 'sync !== 1'],
]
const ANSWER_FIRST: Change[] = [
  [
    'src/tracker.js',
    "await store.submit([job], by === 'client' ? bounds : unbounded)",
    '(store.submit([job], bounds).catch(() => {}), [{ job, deduplicated: false }])',
  ],
]
const NO_FENCE: Change[] = [
  ['src/store/sqlite/sqlite.js', `job === null || job.run !== run || job.status !== 'processing'`, 'job === null'],
]
const NO_TRANSACTION: Change[] = [
  ['src/store/sqlite/group-commit.js', '        begin.run();', ''],
  ['src/store/sqlite/group-commit.js', '            commit.run();', ''],
  [
    'src/store/sqlite/rows.js',
    `NEW.map(() => '?')}, ?, 0, 0, 0, 0)`,
    `NEW.map(() => '?')}, ?, 0, 0, 0, 0) RETURNING id`,
  ],
  ['src/store/sqlite/rows.js', 'insert.run(', 'insert.get('],
  ['src/store/sqlite/submit.js', 'bytes + excluded.bytes', 'bytes + excluded.bytes RETURNING n'],
  ['src/store/sqlite/submit.js', 'count.run(', 'count.get('],
]

describe('is caught', () => {
  // Skipped where nothing can be mounted: no power can be cut there.
  test.skipIf(powerCut.missing() !== null)(
    'synchronous=NORMAL, by a power cut',
    async () => {
      expect(await violationsOf(tryPowerCuts(build(NORMAL), 2))).toContainEqual(
        expect.stringMatching(/acknowledged jobs are lost/),
      )
    },
    120_000,
  )

  // Skipped where strace is missing: nothing else makes a single fsync fail.
  test.skipIf(ioErrors.missing() !== null)(
    'an answer before the commit, by EIO',
    async () => {
      expect(await violationsOf(tryIoErrors(build(ANSWER_FIRST), 16, 28))).toContainEqual(
        expect.stringMatching(/acknowledged jobs are lost/),
      )
    },
    120_000,
  )

  test('an outcome without its fence, by late writes', async () => {
    const violations = await violationsOf(lateWrites.run(build(NO_FENCE)))
    expect(violations).toContainEqual(expect.stringMatching(/a late \w+ after \w+ changed the job/))
  })

  // Skipped where nothing can be mounted: no small disk can be filled there.
  test.skipIf(fullDisk.missing() !== null)(
    'a row written by .get() with RETURNING outside of a transaction, by a full disk',
    async () => {
      expect(await violationsOf(fullDisk.run(build(NO_TRANSACTION)))).toContainEqual(
        expect.stringMatching(/acknowledged jobs are lost/),
      )
    },
    120_000,
  )
})

test('an unchanged copy is not: the control of the controls', async () => {
  expect(await violationsOf(lateWrites.run(build()))).toEqual([])
})
