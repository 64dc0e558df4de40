// The negative controls of jobmill torture --driver postgres: a build without a protection must be caught.
import { describe, expect, test } from 'vitest'
import { tryCrowd } from '../../src/torture/faults/cluster/crowd.js'
import { tryKills } from '../../src/torture/faults/cluster/kills.js'
import { tryLines } from '../../src/torture/faults/cluster/lines.js'
import { tryRestarts } from '../../src/torture/faults/cluster/restarts.js'
import { tryStops } from '../../src/torture/faults/cluster/stops.js'
import { racedTicks } from '../../src/torture/faults/cluster/ticks.js'
import { missingPostgres } from '../../src/torture/postgres.js'
import { build, type Change, violationsOf } from './sabotage.js'

const PG = 'src/store/postgres'

/**
 * In one second of four the dead are dead an eighth of a lease after a beat, which is before the next one, and nobody looks
 * again. (In every second no run would come to its end.)
 */
const HASTE = '(CASE WHEN extract(epoch FROM clock_timestamp())::bigint % 4 = 0 THEN 8 ELSE 1 END)'
const HASTY_RESCUE: Change[] = [
  [
    `${PG}/nodes.js`,
    `node NOT IN (SELECT id FROM nodes WHERE \${ALIVE})`,
    `node NOT IN (SELECT id FROM nodes WHERE heartbeat_at + lease / ${HASTE} > clock_timestamp())`,
  ],
  [`${PG}/upkeep.js`, '!alive.has(String(node))', 'true'],
]
const NO_FENCE: Change[] = [
  [`${PG}/settle.js`, `job?.run !== ending.run || job.status !== 'processing'`, 'job === undefined'],
]
const ANSWER_FIRST: Change[] = [[`${PG}/connection.js`, `durable ? 'on' : 'off'`, `'off'`]]
const NOT_SENT_AGAIN: Change[] = [
  ['src/tracker.js', 'if (!(error instanceof ServiceError) || stopped.signal.aborted)', 'if (true)'],
]
const CLAIMS_FORGOTTEN: Change[] = [[`${PG}/lane.js`, 'await lostClaims.release(request, rows, moves);', '']]
/** Both protections of a tick: who fires it looks whether it is still due, and its record is unique. */
const TICKS_NOT_UNIQUE: Change[] = [
  [`${PG}/schedules.js`, 'row.next_at !== from ||', ''],
  [`${PG}/schedules.js`, 'if (!(await write(name, entry)))', 'if (!(await write(name, entry)) && false)'],
]
/** Both protections of a claim: the lock, and the run that is compared. */
const CLAIMS_UNGUARDED: Change[] = [
  [`${PG}/claim.js`, 'LIMIT share.most FOR UPDATE SKIP LOCKED', 'LIMIT share.most'],
  [`${PG}/claim.js`, 'AND jobs.run = first.run', ''],
]

const missing = missingPostgres()

describe.skipIf(missing !== null)(`is caught (${missing ?? 'a real server'})`, () => {
  test('a rescue before the lease is over, by kills', async () => {
    expect(await violationsOf(tryKills(build(HASTY_RESCUE), 2))).toContainEqual(
      expect.stringMatching(/taken from nodes that were well/),
    )
  })

  test('an outcome without its fence, by stops', async () => {
    expect(await violationsOf(tryStops(build(NO_FENCE), 1))).toContainEqual(
      expect.stringMatching(/taken from its node, and ended the job/),
    )
  })

  test('synchronous_commit=off, by restarts of PostgreSQL', async () => {
    expect(await violationsOf(tryRestarts(build(ANSWER_FIRST), 2))).toContainEqual(
      expect.stringMatching(/acknowledged jobs are lost/),
    )
  })

  test('an outcome that is not sent again, by restarts of PostgreSQL', async () => {
    expect(await violationsOf(tryRestarts(build(NOT_SENT_AGAIN), 2))).toContainEqual(
      expect.stringMatching(/jobs are stuck/),
    )
  })

  test('a claim whose answer was lost and that nobody lets go of, by a line that loses answers', async () => {
    expect(await violationsOf(tryLines(build(CLAIMS_FORGOTTEN), 2))).toContainEqual(
      expect.stringMatching(/jobs are stuck/),
    )
  })

  test('a tick that two nodes may fire, by nodes that race for it', async () => {
    expect(await violationsOf(racedTicks.run(build(TICKS_NOT_UNIQUE)))).toContainEqual(
      expect.stringMatching(/jobs belong to no tick/),
    )
  })

  test('a claim without locks and without compare-and-set, by a crowd', async () => {
    const violations = await violationsOf(tryCrowd(build(CLAIMS_UNGUARDED), 300))
    expect(violations).toContainEqual(expect.stringMatching(/300 jobs began \d+ times/))
    expect(violations).toContainEqual(
      // Each claim counts as a run of its own.
      expect.stringMatching(/run \d+ of .+ went on after run \d+ had begun/),
    )
  })
})
