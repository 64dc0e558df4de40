// Batches: counts of their jobs, the job that waits for the end of all, cancel.
import { v7 } from 'uuid'
import { expect, test } from 'vitest'
import { JOB_STATUSES } from '../../../src/job.js'
import { aJob, anError, complete, ids, NO_BOUNDS, type Stage, T0 } from './stage.js'

export function batching(stage: () => Promise<Stage>): void {
  async function aBatch(the: Stage, n: number, { open = false, on_complete = true } = {}) {
    const id = v7()
    const jobs = Array.from({ length: n }, () => aJob({ batch_id: id }))
    const last = on_complete ? [aJob({ type: 'last', waits: true })] : []
    const batch = { id, created_at: T0, open_by: open ? the.node : null, on_complete: last[0]?.id ?? null }
    const accepted = await the.store.submit([...jobs, ...last], NO_BOUNDS, batch)
    return { id, jobs, last: last[0], accepted }
  }

  async function expectCounts(the: Stage, id: string, counts: object) {
    const none = Object.fromEntries(JOB_STATUSES.map((status) => [status, 0]))
    expect((await the.store.batch(id))?.jobs).toEqual({ ...none, ...counts })
  }

  test('a batch counts its jobs by status, at every move', async () => {
    const the = await stage()
    const { id } = await aBatch(the, 5, { on_complete: false })
    await expectCounts(the, id, { pending: 5 })
    const [first, second, third] = await the.claim([1, 2, 3])
    await the.end(first as never, complete)
    await the.end(second as never, { verb: 'fail', error: anError() })
    await the.end(third as never, { verb: 'retry', error: anError(), delay: 100 })
    await the.store.cancel((await the.claim([4], { at: T0 + 20 }))[0]?.id as string, 'no', T0 + 21)
    await expectCounts(the, id, { completed: 1, failed: 1, retrying: 1, processing: 1, pending: 1 })
    expect((await the.store.list({ batch: id }, 10, null)).jobs).toHaveLength(5)
    expect(await the.store.batch('nobody')).toBeNull()
  })

  test('the last job waits until all others are final, however they ended, and runs once', async () => {
    const the = await stage()
    const { id, jobs, last } = await aBatch(the, 3)
    expect(await the.store.get(last?.id as string)).toMatchObject({ status: 'waiting', batch_id: null })
    const [first, second] = await the.claim([1, 2])
    await the.end(first as never, complete)
    await the.end(second as never, { verb: 'fail', error: anError() })
    expect(await the.store.get(last?.id as string)).toMatchObject({ status: 'waiting' })
    const { unblocked } = (await the.store.cancel(jobs[2]?.id as string, 'no', T0 + 20)) ?? {}
    expect(ids(unblocked ?? [])).toEqual([last?.id])
    // A rerun ends the batch once more, and its last job has begun by then.
    await the.store.rerun(jobs[2]?.id as string, T0 + 30)
    await expectCounts(the, id, { completed: 1, failed: 1, pending: 1 })
    const again = await the.store.cancel(jobs[2]?.id as string, 'no', T0 + 40)
    expect(again?.unblocked).toEqual([])
    expect((await the.claim([1, 2], { types: ['last'], at: T0 + 50 })).map(({ run }) => run)).toEqual([1])
  })

  test('the last job is claimed by the claim in which what it waited for expires', async () => {
    const the = await stage()
    const id = v7()
    const [job, last] = [aJob({ batch_id: id, start_by: T0 + 10 }), aJob({ type: 'last', waits: true })]
    const batch = { id, created_at: T0, open_by: null, on_complete: last.id }
    await the.store.submit([job, last], NO_BOUNDS, batch)
    expect(await the.claim([1], { types: ['last'], at: T0 + 9 })).toEqual([])
    expect(ids(await the.claim([1], { types: ['last'], at: T0 + 10 }))).toEqual([last.id])
  })

  test('while jobs may still come the last one waits', async () => {
    const the = await stage()
    const { id, last } = await aBatch(the, 1, { open: true })
    const [job] = await the.claim([1])
    await the.end(job as never, complete)
    expect(await the.store.get(last?.id as string)).toMatchObject({ status: 'waiting' })
    const more = { id, created_at: T0, open_by: the.node, on_complete: null }
    await the.store.submit([aJob({ batch_id: id })], NO_BOUNDS, more)
    expect(await the.store.closeBatch(id, T0 + 20)).toEqual([])
    const [other] = await the.claim([1], { at: T0 + 30 })
    await the.end(other as never, complete, T0 + 40)
    expect(await the.store.get(last?.id as string)).toMatchObject({ status: 'pending' })
  })

  test('closing a batch whose jobs are final lets the last one go; so does the crash of who had it open', async () => {
    const the = await stage()
    for (const how of ['close', 'crash']) {
      const { id, last } = await aBatch(the, 1, { open: true })
      const [job] = await the.claim([1], { at: T0 + 5 })
      await the.end(job as never, complete, T0 + 10)
      if (how === 'close') expect(ids(await the.store.closeBatch(id, T0 + 20))).toEqual([last?.id])
      else {
        await the.crash()
        expect(ids((await the.store.tick({ node: the.node, now: T0 + 20 })).unblocked)).toEqual([last?.id])
      }
      expect(await the.store.batch(id)).toMatchObject({ open: false, on_complete: last?.id })
    }
  })

  test('a cancelled batch takes no more jobs, also where it was open; another one does', async () => {
    const the = await stage()
    const { id, last } = await aBatch(the, 1, { open: true })
    const more = () => {
      const open = { id, created_at: T0, open_by: the.node, on_complete: null }
      return the.store.submit([aJob({ batch_id: id })], NO_BOUNDS, open)
    }
    await more()
    const { cancelled = [] } = (await the.store.cancelBatch(id, '', 'stop', T0 + 1)) ?? {}
    await expect(more()).rejects.toMatchObject({ code: 'batch_closed' })
    for (const job of cancelled) await the.store.remove(job.id)
    await expect(more()).rejects.toMatchObject({ code: 'batch_closed' })
    expect(await the.store.batch(id)).toMatchObject({ open: true, jobs: { cancelled: 2, pending: 0 } })
    expect(ids(await the.store.closeBatch(id, T0 + 2))).toEqual([last?.id])
    await aBatch(the, 1, { open: true })
  })

  test('a cancel reaches all jobs of the batch and no others', async () => {
    const the = await stage()
    const { id, last } = await aBatch(the, 450)
    const other = await the.add()
    const running = await the.claim([1, 2])
    let [cancelled, requested, after]: [number, number, string | null] = [0, 0, '']
    const unblocked: string[] = []
    while (after !== null) {
      const piece: Awaited<ReturnType<typeof the.store.cancelBatch>> = await the.store.cancelBatch(
        id,
        after,
        'stop',
        T0 + 9,
      )
      cancelled += piece?.cancelled.length ?? 0
      requested += piece?.requested.length ?? 0
      unblocked.push(...ids(piece?.unblocked ?? []))
      after = piece?.next ?? null
    }
    expect([cancelled, requested, unblocked]).toEqual([448, 2, []])
    for (const job of running) await the.end(job, complete)
    await expectCounts(the, id, { cancelled: 450 })
    expect(await the.store.get(last?.id as string)).toMatchObject({ status: 'pending' })
    expect(await the.store.get(other.id)).toMatchObject({ status: 'pending' })
    expect(await the.store.cancelBatch('nobody', '', 'stop', T0)).toBeNull()
  })

  test('counts stay when jobs are deleted, and the batch goes with the last of them', async () => {
    const the = await stage()
    const { id, jobs } = await aBatch(the, 2, { on_complete: false })
    for (const job of await the.claim([1, 2])) await the.end(job, complete)
    await the.store.remove(jobs[0]?.id as string)
    await expectCounts(the, id, { completed: 2 })
    await the.store.remove(jobs[1]?.id as string)
    expect(await the.store.batch(id)).toBeNull()
  })

  test('a batch that comes again with its Idempotency-Key is answered whole', async () => {
    const the = await stage()
    const keys = [{ kind: 'idempotency' as const, owner: '', key: 'k', fingerprint: 'f', expires_at: T0 + 999 }]
    const send = async () => {
      const id = v7()
      const jobs = [{ ...aJob({ batch_id: id }), keys }, aJob({ batch_id: id })]
      return the.store.submit(jobs, NO_BOUNDS, { id, created_at: T0, open_by: null, on_complete: null })
    }
    const [first, again] = [await send(), await send()]
    expect(again.map(({ deduplicated }) => deduplicated)).toEqual([true, true])
    expect(again.map(({ job }) => job.id)).toEqual(first.map(({ job }) => job.id))
    expect((await the.store.list({}, 10, null)).jobs).toHaveLength(2)
  })

  test('a batch whose first job was there by its unique key is answered again all the same', async () => {
    const the = await stage()
    const unique = { kind: 'unique' as const, owner: '', key: 'u', fingerprint: null, expires_at: T0 + 999 }
    const idempotency = { kind: 'idempotency' as const, owner: '', key: 'k', fingerprint: 'f', expires_at: T0 + 999 }
    const [there] = await the.store.submit([{ ...aJob(), keys: [unique] }], NO_BOUNDS)
    const send = async () => {
      const id = v7()
      const jobs = [{ ...aJob({ batch_id: id }), keys: [idempotency, unique] }, aJob({ batch_id: id })]
      return the.store.submit(jobs, NO_BOUNDS, { id, created_at: T0, open_by: null, on_complete: null })
    }
    const [first, again] = [await send(), await send()]
    expect(first).toMatchObject([{ job: { id: there?.job.id }, deduplicated: true }, { deduplicated: false }])
    expect(again).toMatchObject([{ job: { id: first[1]?.job.id }, deduplicated: true }])
    expect((await the.store.list({}, 10, null)).jobs).toHaveLength(2)
  })
}
