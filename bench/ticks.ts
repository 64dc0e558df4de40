// What schedules cost: a look at ten thousand of which none is due, and a thousand that are due in the same second.
import { createEventBus } from '../src/events.js'
import { createIds } from '../src/ids.js'
import type { JobType } from '../src/job-types.js'
import { createFiring } from '../src/schedules/firing.js'
import { createSchedules } from '../src/schedules/schedules.js'
import { openSqliteStore } from '../src/store/sqlite/sqlite.js'
import { longestHold } from './hold.js'

const RULES = { priority_aging: 3_600_000, poison_after: 3 }
const BOUNDS = { max_pending: 0, max_stored: 1_000_000, max_bytes: 1_000_000_000 }
const LOOKS = 1_000
const NOOP = { name: 'noop', disabled: null, payload: null, timeout_ms: 60_000, retry_count: 3 } as JobType

/** Milliseconds: of one look, of all passes that fire what is due, and of the longest hold of the event loop by them. */
export async function ticks(file: string, idle: number, due: number) {
  let now = Date.UTC(2030, 0)
  const store = openSqliteStore(file, RULES)
  const submissionRules = { types: new Map([['noop', NOOP]]), max_payload: 1_000 }
  const bus = createEventBus()
  const newId = createIds(() => now)
  const options = { store, bus, rules: RULES, submissionRules, bounds: BOUNDS, now: () => now, newId }
  const [schedules, firing] = [createSchedules(options), createFiring(options)]
  const put = (n: number, cron: string, from: number) =>
    Promise.all(
      Array.from({ length: n }, (_, i) => schedules.put(`s${from + i}`, { cron, job: { type: 'noop' } }, 'http')),
    )
  await put(idle, '0 0 1 6 *', 0)
  const looked = performance.now()
  for (let i = 0; i < LOOKS; i += 1) await firing.fireDue()
  const look = (performance.now() - looked) / LOOKS
  await put(due, '0 3 * * *', idle)
  now += 3 * 3_600_000
  const fired = performance.now()
  const hold = await longestHold(async () => {
    for (let next: number | null = now; next !== null && next <= now; ) {
      next = await firing.fireDue()
      await new Promise(setImmediate)
    }
  })
  const all = performance.now() - fired
  const { noop } = await store.counts()
  if (noop?.now.pending !== due) throw new Error(`${noop?.now.pending} jobs of ${due} schedules`)
  await store.close()
  return { look, all, hold }
}
