// Keys: who submits with one that is taken gets the job that has it, as long as it is taken and not a moment longer.
import { expect, test } from 'vitest'
import type { Submission } from '../../../src/new-job.js'
import type { JobKey, NewJob } from '../../../src/store/store.js'
import { aJob, complete, NO_BOUNDS, type Stage, T0 } from './stage.js'

const WINDOW = 1_000
const idempotency = (key: string, more: Partial<JobKey> = {}): JobKey => {
  return { kind: 'idempotency', owner: 'shop', key, fingerprint: 'f1', expires_at: T0 + WINDOW, ...more }
}
const unique = (key: string, more: Partial<JobKey> = {}): JobKey => {
  return { kind: 'unique', owner: 'a', key, fingerprint: null, expires_at: T0 + WINDOW, ...more }
}

const keyed = (keys: JobKey[], at = T0, submission: Partial<Submission> = {}): NewJob => ({
  ...aJob(submission, at),
  keys,
})

export function keying(stage: () => Promise<Stage>): void {
  test.each([
    ['idempotency', idempotency('k')],
    ['unique', unique('k')],
  ])('a job with an %s key that is taken is answered with the one that has it', async (_, key) => {
    const { store } = await stage()
    const [first, second] = [keyed([key]), keyed([key], T0 + 1)]
    const { keys, ...stored } = first
    expect(await store.submit([first], NO_BOUNDS)).toMatchObject([{ job: stored, deduplicated: false }])
    expect(await store.submit([second], NO_BOUNDS)).toEqual([{ job: stored, deduplicated: true }])
    expect(await store.get(second.id)).toBeNull()
    expect((await store.list({}, 10, null)).jobs).toHaveLength(1)
  })

  test('keys of another kind, owner or name, or none, are free', async () => {
    const { store } = await stage()
    const others = [
      idempotency('k'),
      unique('k'),
      idempotency('k', { owner: 'blog' }),
      unique('k', { owner: 'b' }),
      idempotency('K'),
    ]
    for (const key of others)
      expect(await store.submit([keyed([key])], NO_BOUNDS)).toMatchObject([{ deduplicated: false }])
    for (let i = 0; i < 2; i += 1)
      expect(await store.submit([aJob()], NO_BOUNDS)).toMatchObject([{ deduplicated: false }])
  })

  test('of 100 at once one is stored, and all are answered with it', async () => {
    const { store } = await stage()
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => store.submit([keyed([idempotency('k'), unique('u')])], NO_BOUNDS)),
    )
    const accepted = answers.flat()
    expect(new Set(accepted.map(({ job }) => job.id)).size).toBe(1)
    expect(accepted.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
    expect((await store.list({}, 200, null)).jobs).toHaveLength(1)
  })

  test('an idempotency key with another fingerprint is refused, and nothing of that submission is stored', async () => {
    const { store } = await stage()
    await store.submit([keyed([idempotency('k')])], NO_BOUNDS)
    const other = keyed([idempotency('k', { fingerprint: 'f2' })])
    await expect(store.submit([aJob(), other], NO_BOUNDS)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    expect((await store.list({}, 10, null)).jobs).toHaveLength(1)
  })

  test('an idempotency key is free when its time is over, whatever became of its job; a unique one only when that is final, too', async () => {
    const the = await stage()
    const type = 'only'
    const keys = [idempotency('k'), unique('u', { owner: type })]
    const first = keyed(keys, T0, { type })
    await the.store.submit([first], NO_BOUNDS)
    const late = { expires_at: T0 + 2 * WINDOW }
    const at = T0 + WINDOW
    const again = (key: JobKey, now = at) => the.store.submit([keyed([{ ...key, ...late }], now)], NO_BOUNDS)
    expect(await again(idempotency('k'), at - 1)).toMatchObject([{ job: { id: first.id }, deduplicated: true }])
    expect(await again(idempotency('k'))).toMatchObject([{ deduplicated: false }])
    expect(await again(unique('u', { owner: type }))).toMatchObject([{ job: { id: first.id }, deduplicated: true }])
    const [job] = await the.claim([1], { types: [type], at })
    await the.end(job as never, complete, at)
    expect(await again(unique('u', { owner: type }))).toMatchObject([{ deduplicated: false }])
  })

  test('a unique key of a final job is taken until its time is over', async () => {
    const the = await stage()
    const job = keyed([unique('u')])
    await the.store.submit([job], NO_BOUNDS)
    await the.store.cancel(job.id, 'not wanted', T0 + 1)
    expect(await the.store.submit([keyed([unique('u')], T0 + WINDOW - 1)], NO_BOUNDS)).toMatchObject([
      { deduplicated: true },
    ])
    expect(await the.store.submit([keyed([unique('u')], T0 + WINDOW)], NO_BOUNDS)).toMatchObject([
      { deduplicated: false },
    ])
  })

  test('a unique key goes with its job; an idempotency key stays, and tells that the job was deleted', async () => {
    const { store } = await stage()
    const job = keyed([idempotency('k'), unique('u')])
    await store.submit([job], NO_BOUNDS)
    await store.cancel(job.id, 'not wanted', T0 + 1)
    await store.remove(job.id)
    const again = keyed([idempotency('k')])
    await expect(store.submit([again], NO_BOUNDS)).rejects.toMatchObject({ code: 'job_deleted' })
    await expect(store.recall(idempotency('k'), T0 + 1, false)).rejects.toMatchObject({ code: 'job_deleted' })
    const other = idempotency('k', { fingerprint: 'f2' })
    await expect(store.recall(other, T0 + 1, false)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
    expect(await store.submit([keyed([unique('u')])], NO_BOUNDS)).toMatchObject([{ deduplicated: false }])
    expect(await store.recall(idempotency('k'), T0 + WINDOW, false)).toBeNull()
  })

  test('who comes with an idempotency key for another body is refused, though its unique key is taken by that job', async () => {
    const { store } = await stage()
    await store.submit([keyed([idempotency('k'), unique('u')])], NO_BOUNDS)
    const other = keyed([idempotency('k', { fingerprint: 'f2' }), unique('u')])
    await expect(store.submit([other], NO_BOUNDS)).rejects.toMatchObject({ code: 'idempotency_key_reused' })
  })

  test('what was there before needs none of the jobs that it depended on', async () => {
    const the = await stage()
    const on = await the.running()
    await the.end(on, complete)
    const type = 'child'
    const submission = { type, depends_on: [on.id] }
    const send = () => the.store.submit([keyed([idempotency('k')], T0 + 20, submission)], NO_BOUNDS)
    const [first] = await send()
    const [job] = await the.claim([1], { types: [type], at: T0 + 30 })
    await the.end(job as never, complete, T0 + 40)
    await the.store.remove(on.id)
    expect(await send()).toMatchObject([{ job: { id: first?.job.id }, deduplicated: true }])
    const other = keyed([], T0 + 20, submission)
    await expect(the.store.submit([other], NO_BOUNDS)).rejects.toMatchObject({ code: 'unknown_dependency' })
  })

  test('a key is looked up before the bounds: what was there before needs no room', async () => {
    const { store } = await stage()
    const bounds = { ...NO_BOUNDS, max_pending: 1 }
    const first = keyed([idempotency('k')])
    await store.submit([first], bounds)
    await expect(store.submit([keyed([idempotency('other')])], bounds)).rejects.toMatchObject({ code: 'queue_full' })
    expect(await store.submit([keyed([idempotency('k')])], bounds)).toMatchObject([
      { job: { id: first.id }, deduplicated: true },
    ])
    // What was refused has taken no key.
    await store.cancel(first.id, 'not wanted', T0 + 1)
    expect(await store.submit([keyed([idempotency('other')])], bounds)).toMatchObject([{ deduplicated: false }])
  })

  test('jobs of one submission with the same key are one job', async () => {
    const { store } = await stage()
    const jobs = [keyed([unique('u')]), aJob(), keyed([unique('u')])]
    const answers = await store.submit(jobs, NO_BOUNDS)
    expect(answers.map(({ job, deduplicated }) => [job.id, deduplicated])).toEqual([
      [jobs[0]?.id, false],
      [jobs[1]?.id, false],
      [jobs[0]?.id, true],
    ])
  })

  test('who came by a unique key to a job comes there again by the idempotency key of that submission', async () => {
    const the = await stage()
    const first = keyed([unique('u')])
    await the.store.submit([first], NO_BOUNDS)
    const send = (at: number) =>
      the.store.submit([keyed([idempotency('k'), unique('u', { expires_at: at + 1 })], at)], NO_BOUNDS)
    expect(await send(T0)).toMatchObject([{ job: { id: first.id }, deduplicated: true }])
    await the.store.cancel(first.id, 'not wanted', T0 + 1)
    // Now the unique key is free.
    await the.store.submit([keyed([unique('u', { expires_at: T0 + 2 * WINDOW })], T0 + WINDOW)], NO_BOUNDS)
    expect(await send(T0 + 2)).toMatchObject([{ job: { id: first.id }, deduplicated: true }])
  })

  test('keys survive a crash', async () => {
    const the = await stage()
    const job = keyed([idempotency('k'), unique('u')])
    await the.store.submit([job], NO_BOUNDS)
    await the.crash()
    for (const key of [idempotency('k'), unique('u')])
      expect(await the.store.submit([keyed([key])], NO_BOUNDS)).toMatchObject([
        { job: { id: job.id }, deduplicated: true },
      ])
  })

  test('upkeep forgets keys that nobody can meet, and no others', async () => {
    const the = await stage()
    const job = keyed([idempotency('k'), unique('u')])
    await the.store.submit([job], NO_BOUNDS)
    await the.store.tick({ node: the.node, now: T0 + WINDOW - 1 })
    expect(await the.store.submit([keyed([idempotency('k')])], NO_BOUNDS)).toMatchObject([{ deduplicated: true }])
    await the.store.tick({ node: the.node, now: T0 + WINDOW })
    // Asked with an earlier time: it is gone, not expired.
    expect(await the.store.submit([keyed([idempotency('k')])], NO_BOUNDS)).toMatchObject([{ deduplicated: false }])
    expect(await the.store.submit([keyed([unique('u')])], NO_BOUNDS)).toMatchObject([{ deduplicated: true }])
    await the.store.cancel(job.id, 'not wanted', T0 + WINDOW)
    await the.store.rerun(job.id, T0 + WINDOW)
    await the.store.tick({ node: the.node, now: T0 + WINDOW })
    expect(await the.store.submit([keyed([unique('u')])], NO_BOUNDS)).toMatchObject([{ deduplicated: true }])
    await the.store.cancel(job.id, 'not wanted', T0 + WINDOW)
    await the.store.tick({ node: the.node, now: T0 + WINDOW })
    expect(await the.store.submit([keyed([unique('u')])], NO_BOUNDS)).toMatchObject([{ deduplicated: false }])
  })
}
