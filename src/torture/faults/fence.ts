// Writes about a run that is over: sent twice, late, and after another claim.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Job, Step } from '../../job.js'
import { newJob } from '../../new-job.js'
import type { Store } from '../../store/store.js'
import { type Bench, createFinding, type Fault, inFolder } from '../bench.js'

const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const BOUNDS = { max_pending: 1_000, max_stored: 1_000, max_bytes: 1_000_000 }
const T0 = 1_800_000_000_000

const ENDINGS: Record<string, Step> = {
  complete: { verb: 'complete', result: '{"rows":1}', artifacts: [] },
  fail: { verb: 'fail', error: { code: 'handler_error', message: 'no luck', attempt: 1 } },
  retry: { verb: 'retry', error: { code: 'handler_error', message: 'no luck', attempt: 1 }, delay: 0 },
  release: { verb: 'release', detail: 'its node was shut down' },
}

export const lateWrites: Fault = {
  number: 14,
  name: 'outcome and release sent twice, late, and after another claim',
  expected: 'the first one counts, a late one changes nothing',
  missing: () => null,
  run: (bench) =>
    inFolder({}, async (folder) => {
      const { check, count, counts, violations } = createFinding()
      const store = await openStore(bench, join(folder, 'jobs.db'))
      let serial = 0
      for (const [first, step] of Object.entries(ENDINGS)) {
        for (const [late, again] of Object.entries(ENDINGS)) {
          serial += 1
          const job = await running(store, serial)
          await store.settle([{ id: job.id, run: job.run, step, now: T0 }])
          // Released and retried jobs run again: the late write then meets another run.
          const next = await claim(store, job.type)
          const before = JSON.stringify(await store.get(job.id))
          const {
            ended: [answer],
          } = await store.settle([{ id: job.id, run: job.run, step: again, now: T0 + 1 }])
          const unchanged = JSON.stringify(await store.get(job.id)) === before
          check(answer === null && unchanged, `a late ${late} after ${first} changed the job`)
          count('late writes')
          if (next !== null)
            await store.settle([{ id: next.id, run: next.run, step: ENDINGS.complete as Step, now: T0 + 2 }])
        }
      }
      await store.close()
      return { rounds: serial, counts, violations }
    }),
}

/** The store of the build under test, in this process. */
async function openStore(bench: Bench, file: string): Promise<Store> {
  const { openSqliteStore } = await import(pathToFileURL(join(bench.main, '../store/sqlite/sqlite.js')).href)
  return openSqliteStore(file, RULES)
}

/** Each of a type of its own: what a broken store leaves pending must not get into the way. */
async function running(store: Store, serial: number): Promise<Job> {
  const id = `job-${String(serial).padStart(4, '0')}`
  const submission = { id, type: id, payload: '{}', priority: 3, run_at: null, max_attempts: 9, timeout_ms: 1_000 }
  await store.submit([newJob(submission, T0, RULES)], BOUNDS)
  const job = await claim(store, id)
  if (job === null) throw new Error(`${id} was not claimed`)
  return job
}

async function claim(store: Store, type: string): Promise<Job | null> {
  const { claimed } = await store.claim({
    node: 'node',
    shares: [{ type, limit: 1, reserved: 0 }],
    slots: [1],
    now: T0,
  })
  return claimed[0] ?? null
}
