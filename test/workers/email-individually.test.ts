// Mails that go out one by one, and artifacts as attachments: real servers, real files, a kill in the middle.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import PostalMime from 'postal-mime'
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { InvalidPayloadError, type JobContext, NonRetryableError } from '../../src/define-job.js'
import email from '../../workers/email/index.js'
import { handlerContext } from '../support/context.js'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { startService } from '../support/service.js'
import { type ReceivedMail, startSmtp } from '../support/smtp.js'
import { until } from '../support/until.js'

const payload = email.payload as z.ZodType
const config = email.config as z.ZodType
const people = (n: number) => Array.from({ length: n }, (_, i) => `p${i + 1}@example.com`)
const MAIL = { subject: 'News', body: 'Hello', individually: true }

/** Runs the handler in this process; `checkpoints` is what it kept, the last one last. */
async function send(mail: object, smtp: object, parts: Partial<JobContext<never>> = {}) {
  const checkpoints: unknown[] = []
  const ctx = handlerContext(config.parse({ smtp }) as never, freshFolder(), {
    checkpoint: async (value) => void checkpoints.push(structuredClone(value)),
    ...parts,
  })
  const running = Promise.resolve(email.run(payload.parse({ ...MAIL, ...mail }) as never, ctx))
  const outcome = await running.then(
    (result) => ({ result, error: null }),
    (error: Error) => ({ result: null, error }),
  )
  return { ...outcome, checkpoints }
}

const received = (mails: ReceivedMail[]) => mails.flatMap(({ to }) => to)

describe('individually', () => {
  test('sends each recipient a mail of its own, in their order, that names nobody else', async () => {
    const { host, port, mails } = await startSmtp()
    const progress: string[] = []
    const note = async (percent: number, text?: string) => void progress.push(`${Math.round(percent)} ${text}`)
    const to = ['Ann <ann@example.com>', 'bob@example.com', 'ann@example.com']
    const { result, checkpoints } = await send({ to }, { host, port }, { progress: note })
    expect(result).toEqual({ accepted: ['ann@example.com', 'bob@example.com'], rejected: [] })
    expect(received(mails)).toEqual(['ann@example.com', 'bob@example.com'])
    const parsed = await Promise.all(mails.map(({ raw }) => PostalMime.parse(raw)))
    expect(parsed.map(({ to }) => to)).toEqual([
      [{ address: 'ann@example.com', name: 'Ann' }],
      [{ address: 'bob@example.com', name: '' }],
    ])
    const id = '019a2b3c-0000-7000-8000-000000000001'
    expect(parsed.map(({ messageId }) => messageId)).toEqual([`<${id}.1@localhost>`, `<${id}.2@localhost>`])
    expect(progress).toEqual(['50 1 of 2 sent', '100 2 of 2 sent'])
    expect(checkpoints).toHaveLength(2)
  })

  test('a refused recipient holds up nobody; what may be tried again is, alone', async () => {
    const smtp = await startSmtp({
      answers: { recipients: { 'p2@example.com': '550 no', 'p3@example.com': '451 later' } },
    })
    const server = { host: smtp.host, port: smtp.port }
    const first = await send({ to: people(4) }, server)
    expect(first.error?.message).toMatch(/^1 of 4 mails are left: .*later/)
    expect(first.error).not.toBeInstanceOf(NonRetryableError)
    smtp.answers.recipients = {}
    const second = await send({ to: people(4) }, server, { lastCheckpoint: first.checkpoints.at(-1) })
    expect(second.result).toMatchObject({
      accepted: ['p1@example.com', 'p4@example.com', 'p3@example.com'],
      rejected: [{ address: 'p2@example.com', answer: expect.stringContaining('550') }],
    })
    expect(received(smtp.mails)).toEqual(['p1@example.com', 'p4@example.com', 'p3@example.com'])
  })

  test('where all are refused the job fails, and where the server is away it is tried again', async () => {
    const smtp = await startSmtp({ answers: { sender: '550 not you' } })
    const refused = await send({ to: people(2) }, { host: smtp.host, port: smtp.port })
    expect(refused.error).toBeInstanceOf(NonRetryableError)
    // With the sender put right, a rerun sends to all.
    delete smtp.answers.sender
    const again = await send(
      { to: people(2) },
      { host: smtp.host, port: smtp.port },
      { lastCheckpoint: refused.checkpoints.at(-1) ?? null },
    )
    expect(again.result).toMatchObject({ accepted: people(2), rejected: [] })
    await smtp.stop()
    const away = await send({ to: people(2) }, { host: smtp.host, port: smtp.port })
    expect([away.error instanceof NonRetryableError, away.checkpoints]).toEqual([false, []])
  })

  test('a job that is asked to stop sends no further mail', async () => {
    const { host, port, mails } = await startSmtp()
    const stop = new AbortController()
    const parts = { signal: stop.signal, progress: async () => stop.abort('cancelled') }
    expect((await send({ to: people(5) }, { host, port }, parts)).result).toBeNull()
    expect(received(mails)).toEqual(['p1@example.com'])
  })

  test.each(['cc', 'bcc'])('takes no %s', (field) => {
    const { error } = payload.safeParse({ ...MAIL, to: people(2), [field]: 'x@example.com' })
    expect(error?.issues.map(({ path }) => path)).toEqual([[field]])
  })

  test('after a kill -9 in the middle of 50 at most one gets it twice, and everybody gets it', async () => {
    const smtp = await startSmtp()
    const folder = freshFolder({ 'config.yaml': { jobs: { email: { smtp: { host: smtp.host, port: smtp.port } } } } })
    const first = await startProcess(folder)
    const { id } = await first.submit({ type: 'email', payload: { ...MAIL, to: people(50) } })
    await until('some are sent', () => smtp.mails.length >= 12)
    await first.kill('SIGKILL')
    const before = smtp.mails.length
    expect(before).toBeLessThan(50)
    const second = await startProcess(folder)
    const job = await second.reaches(id, 'completed')
    expect((job.result as { accepted: string[] }).accepted).toHaveLength(50)
    const counts = people(50).map((address) => received(smtp.mails).filter((to) => to === address).length)
    expect(counts.filter((n) => n === 1).length).toBeGreaterThanOrEqual(49)
    expect(Math.max(...counts)).toBeLessThanOrEqual(2)
    expect(Math.min(...counts)).toBe(1)
    // The control: without what was kept, the second run would have sent all 50 again.
    expect(smtp.mails.length - before).toBeLessThan(50)
  }, 60_000)
})

describe('artifacts of dependencies as attachments', () => {
  test('an export is mailed by a job that was submitted right behind it', async () => {
    const { submit, ends, path } = await startService({ config: { jobs: { email: { outbox: 'out' } } } })
    const made = await submit({ type: 'export', payload: { format: 'csv' } })
    const mail = { to: 'me@example.com', subject: 'Your export', body: 'Here it is', attachments: [{ job: made.id }] }
    const sent = await submit({ type: 'email', depends_on: [made.id], payload: mail })
    expect(await ends(sent.id)).toMatchObject({ status: 'completed' })
    const { attachments } = await PostalMime.parse(readFileSync(join(path('out'), `${sent.id}.eml`)))
    expect(attachments).toMatchObject([{ filename: 'jobs.csv', mimeType: 'text/csv' }])
    expect(Buffer.from(attachments[0]?.content as ArrayBuffer).toString()).toMatch(/^\uFEFF?id,type,status/)
    const named = { ...mail, attachments: [{ job: made.id, artifact: 'jobs.csv', name: 'all.csv' }] }
    const again = await submit({ type: 'email', depends_on: [made.id], payload: named })
    await ends(again.id)
    const second = await PostalMime.parse(readFileSync(join(path('out'), `${again.id}.eml`)))
    expect(second.attachments).toMatchObject([{ filename: 'all.csv' }])
  })

  const dependency = (bytes: number) => ({
    id: 'made',
    type: 'export',
    status: 'completed' as const,
    result: null,
    error: null,
    artifacts: [{ name: 'a.csv', bytes, content_type: 'text/csv' }],
  })

  test.each([
    [{ job: 'other' }, 10, InvalidPayloadError, 'not one that this job depends on'],
    [{ job: 'made', artifact: 'b.csv' }, 10, InvalidPayloadError, 'it has a.csv'],
    [{ job: 'made' }, 25 * 1_048_576 + 1, NonRetryableError, '26214401 bytes, a mail may have 26214400'],
  ])('%j of %d bytes is refused before anything is read', async (attachment, bytes, kind, words) => {
    const mail = { to: 'a@example.com', individually: false, attachments: [attachment] }
    const { error } = await send(mail, { host: '127.0.0.1' }, { dependencies: [dependency(bytes)] })
    expect(error).toBeInstanceOf(kind)
    expect(error?.message).toContain(words)
  })

  test.each([
    [{}, ['content', 'name']],
    [{ name: 'a' }, ['content']],
    [{ name: 'a', content: 'YQ==', artifact: 'x' }, ['artifact']],
    [{ job: 'x', content: 'YQ==' }, ['content']],
    [{ job: 'x', content_type: 'text/csv' }, ['content_type']],
    [{ job: 'x', name: 'a' }, ['name']],
  ])('an attachment %j is refused at %j', (attachment, fields) => {
    const { error } = payload.safeParse({ to: 'a@example.com', subject: 's', body: 'b', attachments: [attachment] })
    expect(error?.issues.map(({ path }) => path)).toEqual(fields.map((field) => ['attachments', 0, field]))
  })
})
