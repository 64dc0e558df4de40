// What every driver must do, written against the Store interface only. A driver's test file gives a harness.
import { describe } from 'vitest'
import { batching } from './suite/batches.js'
import { cancelling } from './suite/cancel.js'
import { claiming } from './suite/claim.js'
import { meeting } from './suite/cluster.js'
import { counting } from './suite/counts.js'
import { depending } from './suite/dependencies.js'
import { digesting } from './suite/digests.js'
import { keying } from './suite/keys.js'
import { sharing } from './suite/nodes.js'
import { noting } from './suite/notes.js'
import { pausing } from './suite/pauses.js'
import { pruning } from './suite/prune.js'
import { reading } from './suite/read.js'
import { scheduling } from './suite/schedules.js'
import { settling } from './suite/settle.js'
import { createStage, type Harness } from './suite/stage.js'
import { submitting } from './suite/submit.js'
import { upkeeping } from './suite/tick.js'
import { takingTurns } from './suite/turns.js'
import { walking } from './suite/walk.js'

export { DIGESTS, type Harness, RULES } from './suite/stage.js'

/** `createHarness` is called once a test, and gives an empty database; `alone` says why no two nodes live on it. */
export function storeConformance(name: string, createHarness: () => Promise<Harness>, alone?: string): void {
  const stage = () => createStage(createHarness)
  describe(name, () => {
    describe('submit', () => submitting(stage))
    describe('keys of jobs', () => keying(stage))
    describe('claim', () => claiming(stage))
    describe('renew and settle', () => settling(stage))
    describe('dependencies', () => depending(stage))
    describe('keys, rates and start_by', () => takingTurns(stage))
    describe('batches', () => batching(stage))
    describe('logs, checkpoints, tags and standing', () => noting(stage))
    describe('pauses', () => pausing(stage))
    describe('schedules', () => scheduling(stage))
    describe('digests', () => digesting(stage))
    describe('cancel and rerun', () => cancelling(stage))
    describe('tick', () => upkeeping(stage))
    describe('prune, remove, artifacts and scan', () => pruning(stage))
    describe('get, list and attempts', () => reading(stage))
    describe('counts and close', () => counting(stage))
    describe.skipIf(alone !== undefined)(`several nodes${alone ? ` (none here: ${alone})` : ''}`, () => {
      sharing(stage)
      meeting(stage)
    })
    // Each call of a walk takes a server many times as long.
    describe('any sequence of calls', () => walking(stage, alone === undefined ? 20 : 60))
  })
}
