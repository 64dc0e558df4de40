// A SQLite file with something in each of its tables, and all that a store tells of itself.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createArtifactFolder } from '../../src/artifacts.js'
import type { JobWithPayload, Step } from '../../src/job.js'
import type { Submission } from '../../src/new-job.js'
import { openSqliteStore } from '../../src/store/sqlite/sqlite.js'
import type { JobKey, NewJob, Schedule, Store } from '../../src/store/store.js'
import { aJob, anError, complete, DIGESTS, NO_BOUNDS, RULES, T0 } from '../store/suite/stage.js'

const ODD = 'Grüße an 日本 🚀, "quoted" \\ {braces} and a NUL: \0.'
const [ops] = DIGESTS
const RATE = { limit: 5, per_ms: 3_600_000 }

export const KEYS: JobKey[] = [
  { kind: 'idempotency', owner: 'shop', key: 'order-1', fingerprint: 'f1', expires_at: T0 + 1_000_000 },
  { kind: 'unique', owner: 'a', key: `customer ${ODD}`, fingerprint: null, expires_at: T0 + 1_000_000 },
]

export const artifactsOf = (file: string): string => join(dirname(file), 'artifacts')

/** Ends as a node that was killed does: with runs, and a batch that it had open. Artifacts are beside it. */
export async function fill(file: string): Promise<void> {
  const store = openSqliteStore(file, RULES, { digests: DIGESTS })
  await withFinalJobs(store, artifactsOf(file))
  await withWaitingJobs(store)
  await withBatches(store)
  await withSchedules(store)
  await withKeys(store)
  await store.pause('paused', true)
  await store.addDigestEvent(ops, { kind: 'signup', text: ODD, created_at: T0 })
  await store.addDigestEvent({ ...ops, name: 'full', max_bytes: 100 }, { kind: 'k', text: 'fits', created_at: T0 })
  await withMoreDependents(store)
  await store.close()
}

async function add(store: Store, submission: Partial<Submission> & Pick<NewJob, 'keys'> = {}): Promise<JobWithPayload> {
  const { keys, ...rest } = submission
  const job = aJob(rest)
  await store.submit([keys === undefined ? job : { ...job, keys }], NO_BOUNDS)
  return job
}

async function run(store: Store, submission: Partial<Submission>): Promise<JobWithPayload> {
  const type = submission.type ?? 'a'
  await add(store, { ...submission, type })
  const shares = [{ type, limit: 10, reserved: 0, rate: RATE }]
  const [job] = (await store.claim({ node: 'old', shares, slots: [1], now: T0 + 5 })).claimed
  return job as JobWithPayload
}

const end = (store: Store, { id, run }: JobWithPayload, step: Step, now = T0 + 10) =>
  store.settle([{ id, run, step, now }])

async function withFinalJobs(store: Store, dir: string): Promise<void> {
  const done = await run(store, { type: 'done', payload: JSON.stringify({ text: ODD }), tags: { customer: ODD } })
  await store.renew([{ id: done.id, run: done.run, progress: 50, note: ODD, at: T0 + 6 }])
  await store.append([{ id: done.id, run: done.run, lines: [1, 2, 3].map((i) => ({ at: T0 + i, message: ODD })) }])
  const artifacts = [{ name: 'bericht 1.csv', bytes: 12, content_type: 'text/csv' }]
  const folder = createArtifactFolder(dir).folder(done)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, '0'), 'Größe;Preis\n')
  await end(store, done, { ...complete, artifacts } as Step)
  const broken = await run(store, { type: 'broken' })
  await store.checkpoint(broken, '{"page":7}')
  await end(store, broken, { verb: 'fail', error: anError({ message: ODD }) })
  await store.cancel((await add(store)).id, ODD, T0 + 20)
  // It leaves nothing but what ever ended.
  const gone = await run(store, { type: 'done' })
  await end(store, gone, complete)
  await store.remove(gone.id)
}

async function withWaitingJobs(store: Store): Promise<void> {
  await end(store, await run(store, { type: 'again' }), { verb: 'retry', error: anError(), delay: 60_000 })
  await add(store, { run_at: T0 + 3_600_000, start_by: T0 + 7_200_000, priority: 1 })
  const first = await run(store, { type: 'first' })
  const second = await add(store, { type: 'second' })
  await end(store, first, complete)
  await store.submit([aJob({ depends_on: [first.id, second.id] })], NO_BOUNDS)
  const running = await run(store, { type: 'crashed' })
  await store.checkpoint(running, JSON.stringify(ODD))
  await store.cancel((await run(store, { type: 'crashed too' })).id, ODD, T0 + 30)
  await run(store, { type: 'keyed', concurrency_key: 'held' })
  for (const key of ['held', 'free', 'held', 'free']) await add(store, { type: 'keyed', concurrency_key: key })
  for (const priority of [3, 1, 5, 2]) await add(store, { priority })
}

/** More than one transaction tells that what they wait for has ended. */
async function withMoreDependents(store: Store): Promise<void> {
  const all = await run(store, { type: 'awaited' })
  const waiting = Array.from({ length: 700 }, () => aJob({ type: 'many', depends_on: [all.id] }))
  await store.submit(waiting, NO_BOUNDS)
  await end(store, all, complete)
}

async function withBatches(store: Store): Promise<void> {
  for (const [id, open_by] of [
    ['batch-closed', null],
    ['batch-open', 'old'],
  ] as const) {
    const members = [1, 2].map(() => aJob({ type: 'member', batch_id: id }))
    const last = aJob({ type: 'last', waits: true })
    await store.submit([...members, last], NO_BOUNDS, { id, created_at: T0, open_by, on_complete: last.id })
    await store.cancel(members[0]?.id ?? '', 'not needed', T0 + 40)
  }
}

async function withSchedules(store: Store): Promise<void> {
  const schedule: Omit<Schedule, 'totals' | 'name'> = {
    ...({ source: 'http', document: '{"every":"1s"}', anchor: T0, created_at: T0, updated_at: T0 } as const),
    ...{ paused_at: null, next_at: T0 + 1_000, delay: null },
  }
  await store.putSchedule({ before: null, after: { ...schedule, name: 'paused', paused_at: T0, next_at: null } })
  await store.putSchedule({ before: null, after: { ...schedule, name: 'grüße', source: 'config', delay: 500 } })
  const job = aJob({ type: 'ticked', schedule: 'grüße' })
  const tick = { tick_at: T0 + 1_000, until: T0 + 1_000, asked: false, job_id: null, reason: 'on_time', job }
  const fire = { name: 'grüße', updated_at: T0, from: T0 + 1_000, next_at: T0 + 2_000, queue: false, now: T0 + 1_000 }
  await store.fire([{ ...fire, ticks: [tick] }], NO_BOUNDS)
  const shares = [{ type: 'ticked', limit: 1, reserved: 0 }]
  const { claimed } = await store.claim({ node: 'old', shares, slots: [1], now: T0 + 1_001 })
  await end(store, claimed[0] as JobWithPayload, { ...complete, result: '{"rows":12.5}' } as Step, T0 + 1_010)
  const skipped = { ...tick, tick_at: T0 + 2_000, until: T0 + 9_000, reason: 'missed', job: null }
  const more = { from: T0 + 2_000, next_at: null, now: T0 + 9_000 }
  await store.fire([{ ...fire, ...more, ticks: [skipped] }], NO_BOUNDS)
}

async function withKeys(store: Store): Promise<void> {
  await add(store, { type: 'a', keys: KEYS })
}

/** All that a store tells, in one value that can be compared; texts as PostgreSQL can have them. */
export async function everything(store: Store) {
  const { jobs } = await store.list({}, 100_000, null)
  // Of those that are all alike a few are looked at closely.
  const some = jobs.filter(({ type }) => type !== 'many').concat(jobs.filter(({ type }) => type === 'many').slice(0, 5))
  const each = await Promise.all(
    some.map(async ({ id }) => ({
      job: await store.get(id),
      attempts: await store.attempts(id),
      logs: await store.logs(id, { run: 0, line: 0 }, 1_000),
      checkpoint: await store.lastCheckpoint(id),
    })),
  )
  const batches = new Set(['batch-closed', 'batch-open', ...jobs.flatMap(({ batch_id }) => batch_id ?? [])])
  const schedules = await store.schedules('', 1_000)
  return comparable({
    jobs,
    each,
    batches: await Promise.all([...batches].map(store.batch)),
    schedules: await Promise.all(
      schedules.map(async (schedule) => ({ schedule, ticks: await store.ticks(schedule.name, 1_000) })),
    ),
    digests: await Promise.all(['ops', 'full', 'none'].map(store.digest)),
    pauses: await store.pauses(),
    counts: await store.counts(),
    tagged: (await store.list({ tag: `customer:${ODD}` }, 10, null)).jobs,
    batched: (await store.list({ batch: 'batch-open' }, 10, null)).jobs,
    standing: await Promise.all(
      some
        .filter(({ status }) => status === 'pending' || status === 'waiting')
        .map((job) => store.standing(job, [{ type: job.type, limit: 10, reserved: 0, rate: RATE }], T0 + 50)),
    ),
    recalled: await Promise.all(KEYS.map((key) => store.recall(key, T0 + 50, false))),
  })
}

function comparable(value: object) {
  const shown = (_: string, inner: unknown) => (typeof inner === 'string' ? inner.replaceAll('\0', '\ufffd') : inner)
  return JSON.parse(JSON.stringify(value, shown))
}
