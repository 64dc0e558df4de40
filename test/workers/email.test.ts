// The job type `email` against a real mail server and real files; mails are read back with another parser.
import { readdirSync, readFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import PostalMime from 'postal-mime'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type JobContext, NonRetryableError } from '../../src/define-job.js'
import email from '../../workers/email/index.js'
import { handlerContext } from '../support/context.js'
import { freshFolder } from '../support/folder.js'
import { type Answers, startSmtp } from '../support/smtp.js'
import { until } from '../support/until.js'

const payloadSchema = schema(email.payload)
const configSchema = schema(email.config)

const ID = '019a2b3c-0000-7000-8000-000000000001'
const MAIL = { to: 'user@example.com', subject: 'Hello', body: 'Test email' }

type Config = z.input<typeof configSchema>
type Context = JobContext<z.output<typeof configSchema>>

const context = (config: Config, folder?: string, parts?: Partial<Context>): Context =>
  handlerContext(configSchema.parse(config), folder, parts)

async function run(payload: unknown, ctx: Context): Promise<unknown> {
  return email.run(payloadSchema.parse(payload), ctx)
}

/** Sends by the server and gives back the result, and the mail as it came and as another parser reads it. */
async function deliver(payload: unknown, from?: string) {
  const smtp = await startSmtp()
  const result = await run(payload, context({ from, smtp: { host: smtp.host, port: smtp.port } }))
  const [received, ...others] = smtp.mails
  if (received === undefined || others.length > 0) throw new Error(`${smtp.mails.length} mails came, not one`)
  return { result, envelope: { from: received.from, to: received.to }, ...(await read(received.raw)) }
}

async function read(raw: Buffer) {
  const text = raw.toString('latin1')
  return {
    mail: await PostalMime.parse(raw, { forceRfc822Attachments: true }),
    headers: text.slice(0, text.indexOf('\r\n\r\n')),
  }
}

async function failure(running: Promise<unknown>): Promise<Error> {
  const outcome = await running.then(
    (result) => new Error(`nothing failed, the result is ${JSON.stringify(result)}`),
    (error: unknown) => error,
  )
  if (outcome instanceof Error && !outcome.message.startsWith('nothing failed')) return outcome
  throw outcome
}

function issues(payload: unknown): { path: PropertyKey[]; message: string }[] {
  return payloadSchema.safeParse(payload).error?.issues ?? []
}

function schema<S extends z.ZodType>(given: S | ((config: never) => S) | undefined): S {
  if (given === undefined || typeof given === 'function') throw new Error('the type has fixed schemas')
  return given
}

function bytesOf(content: string | ArrayBuffer | Uint8Array | undefined): Buffer {
  if (content === undefined || typeof content === 'string') throw new Error('the attachment has no bytes')
  return Buffer.from(content instanceof ArrayBuffer ? new Uint8Array(content) : content)
}

describe('the outbox', () => {
  test('a mail becomes a whole file named after its job, in a folder that did not exist', async () => {
    const folder = freshFolder()
    const result = await run(MAIL, context({}, folder))
    expect(result).toEqual({
      message_id: `<${ID}@localhost>`,
      accepted: ['user@example.com'],
      rejected: [],
      file: `${ID}.eml`,
    })
    expect(readdirSync(join(folder, 'data/outbox'))).toEqual([`${ID}.eml`])
    const { mail } = await read(readFileSync(join(folder, 'data/outbox', `${ID}.eml`)))
    expect(mail).toMatchObject({
      from: { address: 'jobmill@localhost', name: '' },
      to: [{ address: 'user@example.com', name: '' }],
      subject: 'Hello',
      text: 'Test email\n',
      messageId: `<${ID}@localhost>`,
      attachments: [],
    })
  })

  test('a retry replaces the file and what an interrupted attempt left', async () => {
    const folder = freshFolder({ [`out/${ID}.eml`]: 'an older one', [`out/.${ID}.eml.draft`]: 'half of a ma' })
    await run(MAIL, context({ outbox: 'out' }, folder, { attempt: 2, run: 2 }))
    expect(readdirSync(join(folder, 'out'))).toEqual([`${ID}.eml`])
    const { mail } = await read(readFileSync(join(folder, 'out', `${ID}.eml`)))
    expect(mail.subject).toBe('Hello')
  })

  test('the file is never seen in part while it is written', async () => {
    const folder = freshFolder()
    const content = Buffer.alloc(6_000_000, 'jobmill ').toString('base64')
    const attachments = [{ name: 'much.bin', content }]
    const sizes = new Set<number>()
    let ended = false
    const running = run({ ...MAIL, attachments }, context({ outbox: 'out' }, folder)).finally(() => {
      ended = true
    })
    while (!ended) {
      const size = await stat(join(folder, 'out', `${ID}.eml`)).then(
        ({ size }) => size,
        () => null,
      )
      if (size !== null) sizes.add(size)
    }
    await running
    const { size } = await stat(join(folder, 'out', `${ID}.eml`))
    expect([...sizes, size].filter((seen) => seen !== size)).toEqual([])
    expect(size).toBeGreaterThan(content.length)
  })

  test('an outbox that cannot be made is a failed attempt that names the folder as configured', async () => {
    const folder = freshFolder({ taken: 'a file, not a folder' })
    const error = await failure(run(MAIL, context({ outbox: './taken/outbox' }, folder)))
    expect(error.message).toBe('cannot write into the outbox "./taken/outbox" (ENOTDIR)')
    expect(error).not.toBeInstanceOf(NonRetryableError)
    expect(readdirSync(folder)).toEqual(['taken'])
  })

  test('a mail that cannot get its name leaves no temporary file', async () => {
    const folder = freshFolder({ [`out/${ID}.eml/in/the/way`]: '' })
    const error = await failure(run(MAIL, context({ outbox: 'out' }, folder)))
    expect(error.message).toMatch(/^cannot write into the outbox "out" \((EISDIR|ENOTEMPTY|EEXIST)\)$/)
    expect(error).not.toBeInstanceOf(NonRetryableError)
    expect(await readdir(join(folder, 'out'))).toEqual([`${ID}.eml`])
  })

  test('bcc is among the accepted and not in the file', async () => {
    const folder = freshFolder()
    const result = await run({ ...MAIL, bcc: [MAIL.to, 'hidden@example.com'] }, context({ outbox: 'out' }, folder))
    expect(result).toMatchObject({ accepted: ['user@example.com', 'hidden@example.com'] })
    expect(readFileSync(join(folder, 'out', `${ID}.eml`), 'latin1')).not.toMatch(/bcc|hidden/i)
  })
})

describe('a mail sent by SMTP', () => {
  test('arrives as it was submitted', async () => {
    const { result, envelope, mail, headers } = await deliver(MAIL)
    expect(result).toEqual({ message_id: `<${ID}@localhost>`, accepted: ['user@example.com'], rejected: [] })
    expect(envelope).toEqual({ from: 'jobmill@localhost', to: ['user@example.com'] })
    expect(mail).toMatchObject({ subject: 'Hello', text: 'Test email\n', from: { address: 'jobmill@localhost' } })
    expect(headers).toMatch(/^Date: \w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}$/m)
    expect(headers).not.toMatch(/nodemailer/i)
  })

  test('carries every field', async () => {
    const { result, envelope, mail } = await deliver({
      to: ['Ann <ann@example.com>', 'bob@example.com, "Doe, Jane" <jane@example.com>'],
      cc: 'Cy <cy@example.com>',
      bcc: ['hidden@example.com'],
      from: 'Sales <sales@example.org>',
      reply_to: 'Help Desk <help@example.org>',
      subject: 'All of it',
      text: 'in plain',
      html: '<p>in <b>bold</b></p>',
      attachments: [{ name: 'a.txt', content: 'YWJj', content_type: 'application/x-notes' }],
    })
    const all = ['ann', 'bob', 'jane', 'cy', 'hidden'].map((name) => `${name}@example.com`)
    expect(result).toEqual({ message_id: `<${ID}@example.org>`, accepted: all, rejected: [] })
    expect(envelope).toEqual({ from: 'sales@example.org', to: all })
    expect(mail).toMatchObject({
      from: { name: 'Sales', address: 'sales@example.org' },
      to: [
        { name: 'Ann', address: 'ann@example.com' },
        { name: '', address: 'bob@example.com' },
        { name: 'Doe, Jane', address: 'jane@example.com' },
      ],
      cc: [{ name: 'Cy', address: 'cy@example.com' }],
      replyTo: [{ name: 'Help Desk', address: 'help@example.org' }],
      subject: 'All of it',
      text: 'in plain\n',
      html: '<p>in <b>bold</b></p>\n',
      attachments: [{ filename: 'a.txt', mimeType: 'application/x-notes', disposition: 'attachment' }],
    })
  })

  test('has no trace of bcc in its headers', async () => {
    const { envelope, headers } = await deliver({ ...MAIL, bcc: ['One <one@example.com>', 'two@example.com'] })
    expect(envelope.to).toEqual(['user@example.com', 'one@example.com', 'two@example.com'])
    expect(headers).not.toMatch(/bcc|one@|two@/i)
  })

  test('goes once to an address that stands in several fields', async () => {
    const { envelope } = await deliver({ ...MAIL, cc: 'User <user@EXAMPLE.com>', bcc: 'user@example.com' })
    expect(envelope.to).toEqual(['user@example.com'])
  })

  test('reaches internationalised domains by their ASCII form', async () => {
    const { result, envelope, mail } = await deliver(
      { ...MAIL, to: 'Jörg <jorg@müller.example>', cc: 'a@例え.テスト' },
      'Straße <post@straße.example>',
    )
    expect(result).toMatchObject({
      message_id: `<${ID}@xn--strae-oqa.example>`,
      accepted: ['jorg@xn--mller-kva.example', 'a@xn--r8jz45g.xn--zckzah'],
    })
    // smtp-server shows domains decoded.
    expect(envelope).toEqual({ from: 'post@straße.example', to: ['jorg@müller.example', 'a@例え.テスト'] })
    expect(mail.to).toMatchObject([{ name: 'Jörg', address: 'jorg@xn--mller-kva.example' }])
    expect(mail.from).toMatchObject({ name: 'Straße', address: 'post@xn--strae-oqa.example' })
  })

  test.each([
    ['umlauts and emoji', 'Grüße 👋🏽 aus Köln', 'Schöne Grüße 👋🏽\nzweite Zeile'],
    ['Japanese at length', '日本語の件名'.repeat(60), '日本語の本文。\n'.repeat(300)],
    ['long lines', 'x'.repeat(998), `${'word '.repeat(500)}\n${'y'.repeat(3_000)}`],
    ['lines that mean something to SMTP and mbox', '.', '.\n..\n.x\nFrom me\n.\nQUIT'],
    ['signs that mean something to encodings', '=?= =3D %20 "q" \\ <a@b.c>', '=?utf-8?B?eA==?= =3D =\n='],
  ])('keeps subject and text: %s', async (_, subject, body) => {
    const { mail, headers } = await deliver({ ...MAIL, subject, body })
    expect(mail.subject).toBe(subject)
    expect(mail.text?.trimEnd()).toBe(body.trimEnd())
    expect(headers).not.toMatch(/^bcc/im)
  })

  test('keeps the names and the bytes of its attachments', async () => {
    const files = [
      { name: 'Übersicht 日本 2024.pdf', bytes: Buffer.from(Array.from({ length: 1_000 }, (_, i) => i % 256)) },
      { name: 'say "hi"; a=b%20.txt', bytes: Buffer.from('one\ntwo\r\nthree\rfour\n\n.\n..\n') },
      { name: `${'long '.repeat(50)}.csv`, bytes: Buffer.from('a,b\n1,2\n') },
      { name: 'page.html', bytes: Buffer.from('<p>ü</p>', 'latin1'), content_type: 'text/html' },
      { name: 'empty', bytes: Buffer.alloc(0) },
    ]
    const attachments = files.map(({ bytes, ...file }) => ({ ...file, content: bytes.toString('base64') }))
    const { mail } = await deliver({ ...MAIL, attachments })
    expect(mail.attachments.map(({ filename }) => filename)).toEqual(files.map(({ name }) => name))
    expect(mail.attachments.map(({ content }) => bytesOf(content).toString('hex'))).toEqual(
      files.map(({ bytes }) => bytes.toString('hex')),
    )
    expect(mail.text).toBe('Test email\n')
  })

  test.each(['a.eml', 'page.mhtml', 'logs.gzip'])(
    'keeps the bytes of an attachment whose name stands for a type with parts: %s',
    async (name) => {
      const inner = Buffer.from(`Subject: inner\n\nna\u00efve \0 body\n.\n${'x'.repeat(2_000)}\n`, 'latin1')
      const { mail } = await deliver({ ...MAIL, attachments: [{ name, content: inner.toString('base64') }] })
      const [attached] = mail.attachments
      expect(attached).toMatchObject({ filename: name, mimeType: 'application/octet-stream' })
      expect(bytesOf(attached?.content).toString('hex')).toBe(inner.toString('hex'))
      expect(mail.text).toBe('Test email\n')
    },
  )

  test.each<[string, number, typeof bySmtp]>([
    ['by SMTP', 30, bySmtp],
    ['in the outbox', 200, byOutbox],
  ])('has the subject and the text that were submitted, whatever they are: %s', async (_, numRuns, prepare) => {
    const passOn = await prepare()
    const signs = fc.constantFrom(...[' ', '.', '=', '=?', '?=', '_', '>', 'a', 'word ', 'é', '😀', '\u00a0', '"'])
    const anything = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.string({ unit: 'grapheme' }))
    const subjects = fc.oneof(anything, fc.string({ unit: signs, maxLength: 200 }))
    const lines = fc.array(fc.string({ unit: signs, maxLength: 100 }), { maxLength: 9 })
    const bodies = fc.oneof(
      anything,
      lines.map((all) => all.join('\n')),
      lines.map((all) => all.join('\r\n')),
    )
    const accepted = fc
      .record({ subject: subjects, body: bodies })
      .filter((mail) => issues({ ...MAIL, ...mail }).length === 0)
    const property = fc.asyncProperty(accepted, async ({ subject, body }) => {
      const mail = await PostalMime.parse(await passOn({ ...MAIL, subject, body }))
      expect(asHeader(mail.subject ?? '')).toBe(asHeader(subject))
      expect(asText(mail.text ?? '')).toBe(asText(body))
    })
    await fc.assert(property, { numRuns })
  })

  async function bySmtp() {
    const smtp = await startSmtp()
    const ctx = context({ smtp: { host: smtp.host, port: smtp.port } })
    return async (payload: object) => {
      await run(payload, ctx)
      return smtp.mails.pop()?.raw ?? ''
    }
  }

  async function byOutbox() {
    const folder = freshFolder()
    return async (payload: object) => {
      await run(payload, context({ outbox: 'out' }, folder))
      return readFileSync(join(folder, 'out', `${ID}.eml`))
    }
  }

  /** Spaces around the value of a header do not belong to it (RFC 5322 §2.2); nor has a mark of byte order a place. */
  function asHeader(text: string): string {
    return asUtf8(text).replace(/^ +| +$/g, '')
  }

  /** A mail's lines end in CR LF, also the last one (RFC 5321 §2.3.8), and a reader shows each as it likes. */
  function asText(text: string): string {
    return asUtf8(text).replace(/\r\n?/g, '\n').replace(/\n*$/, '')
  }

  /** Half of a surrogate pair has no form in UTF-8, and a reader takes the mark of byte order off. */
  function asUtf8(text: string): string {
    return new TextDecoder().decode(Buffer.from(text))
  }

  test('has the same Message-ID at every attempt', async () => {
    const smtp = await startSmtp({ answers: { data: '451 later' } })
    const config = { smtp: { host: smtp.host, port: smtp.port } }
    await failure(run(MAIL, context(config)))
    smtp.answers.data = undefined
    const sent = await run(MAIL, context(config, undefined, { attempt: 2, run: 2 }))
    const again = await run(MAIL, context(config, undefined, { attempt: 3, run: 3 }))
    expect([sent, again]).toMatchObject([{ message_id: `<${ID}@localhost>` }, { message_id: `<${ID}@localhost>` }])
    const ids = await Promise.all(smtp.mails.map(async ({ raw }) => (await PostalMime.parse(raw)).messageId))
    expect(ids).toEqual([`<${ID}@localhost>`, `<${ID}@localhost>`])
  })

  test('takes one connection, which is closed', async () => {
    const smtp = await startSmtp()
    await run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port } }))
    await until('the connection is closed', () => smtp.open() === 0)
    expect(smtp.sessions()).toBe(1)
  })
})

describe('what the mail server answers', () => {
  const everybody = (answer: string): Answers => ({ recipients: { 'user@example.com': answer } })

  test.each<[string, Answers, string, boolean]>([
    ['451 at the greeting', { greeting: '451 too busy' }, '451 too busy', true],
    ['421 at the greeting', { greeting: '421 going down' }, '421 going down', true],
    ['554 at the greeting', { greeting: '554 not you' }, '554 not you', false],
    ['454 to the login', { login: '454 ask later' }, '454 ask later', true],
    ['535 to the login', { login: '535 5.7.8 wrong' }, '535 5.7.8 wrong', false],
    ['451 to the sender', { sender: '451 4.3.0 local error' }, '451 4.3.0 local error', true],
    ['550 to the sender', { sender: '550 5.1.8 no such sender' }, '550 5.1.8 no such sender', false],
    ['450 to the only recipient', everybody('450 greylisted'), '450 greylisted', true],
    ['550 to the only recipient', everybody('550 no such user'), '550 no such user', false],
    ['452 to the mail', { data: '452 no space' }, '452 no space', true],
    ['554 to the mail', { data: '554 spam' }, '554 spam', false],
    ['several lines', { data: '554 this\n554 is\n554 spam' }, '554-this 554-is 554 spam', false],
  ])('%s', async (_, answers, said, retried) => {
    const login = { user: 'shop', pass: 'hunter2' }
    const smtp = await startSmtp({ answers, login })
    const error = await failure(run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port, ...login } })))
    expect(error.message).toContain(said)
    expect(error.message).not.toMatch(/[\r\n]|Test email|hunter2/)
    expect(error instanceof NonRetryableError).toBe(!retried)
    expect(smtp.mails).toEqual([])
    await until('the connection is closed', () => smtp.open() === 0)
  })

  test.each([true, false])(
    'completes with both lists where some recipients are refused (pipelining %s)',
    async (on) => {
      const recipients = {
        'bob@example.com': '550 5.1.1 no such user\n550 here',
        'cy@example.com': '450 4.2.0 greylisted',
      }
      const smtp = await startSmtp({ answers: { recipients }, pipelining: on })
      const mail = { ...MAIL, to: ['ann@example.com', 'bob@example.com'], bcc: 'cy@example.com' }
      const result = await run(mail, context({ smtp: { host: smtp.host, port: smtp.port } }))
      expect(result).toEqual({
        message_id: `<${ID}@localhost>`,
        accepted: ['ann@example.com'],
        rejected: [
          { address: 'bob@example.com', answer: '550-5.1.1 no such user 550 here' },
          { address: 'cy@example.com', answer: '450 4.2.0 greylisted' },
        ],
      })
      expect(smtp.mails.map(({ to }) => to)).toEqual([['ann@example.com']])
    },
  )

  test('is tried again where one of the refused recipients may be taken later', async () => {
    const recipients = { 'ann@example.com': '450 greylisted', 'bob@example.com': '550 no such user' }
    const smtp = await startSmtp({ answers: { recipients } })
    const mail = { ...MAIL, to: 'ann@example.com, bob@example.com' }
    const error = await failure(run(mail, context({ smtp: { host: smtp.host, port: smtp.port } })))
    expect(error.message).toContain('450 greylisted')
    expect(error).not.toBeInstanceOf(NonRetryableError)
  })

  test('is never so long, nor repeats the password, that the log of errors suffers', async () => {
    const login = { user: 'shop', pass: 'correct horse' }
    const token = Buffer.from('\0shop\0correct horse').toString('base64')
    const answer = `535 cannot read ${token} or correct horse ${'or so '.repeat(500)}`
    const smtp = await startSmtp({ answers: { login: answer }, login })
    const error = await failure(run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port, ...login } })))
    expect(error.message).toContain('535 cannot read *** or *** or so')
    expect(error.message.length).toBeLessThanOrEqual(500)
    expect(error.stack).not.toContain('horse')
  })
})

describe('the connection', () => {
  test('logs in with user and pass', async () => {
    const login = { user: 'shop', pass: 'hunter2 ü' }
    const smtp = await startSmtp({ login })
    await run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port, ...login } }))
    expect(smtp.mails).toMatchObject([{ user: 'shop', to: ['user@example.com'] }])
  })

  test('fails for good with a wrong password', async () => {
    const smtp = await startSmtp({ login: { user: 'shop', pass: 'hunter2' } })
    const config = { smtp: { host: smtp.host, port: smtp.port, user: 'shop', pass: 'hunter3' } }
    const error = await failure(run(MAIL, context(config)))
    expect(error).toBeInstanceOf(NonRetryableError)
    expect(error.message).toContain('535 wrong login')
    expect(error.message).not.toContain('hunter3')
  })

  test('is tried again where nobody listens', async () => {
    const smtp = await startSmtp()
    await smtp.stop()
    const error = await failure(run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port } })))
    expect(error.message).toContain('ECONNREFUSED')
    expect(error).not.toBeInstanceOf(NonRetryableError)
  })

  test('shows neither login nor mail to a server whose certificate nobody trusts', async () => {
    const login = { user: 'shop', pass: 'hunter2' }
    const smtp = await startSmtp({ starttls: true, login })
    const error = await failure(run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port, ...login } })))
    expect(error.message).toMatch(/certificate/i)
    expect(error).not.toBeInstanceOf(NonRetryableError)
    expect(smtp.logins).toEqual([])
    expect(smtp.mails).toEqual([])
  })

  test.each(['greeting', 'data'] as const)('is closed at once when the job is stopped: silence at %s', async (step) => {
    const smtp = await startSmtp({ silent_at: step })
    const stop = new AbortController()
    const config = { smtp: { host: smtp.host, port: smtp.port } }
    let error: Error | null = null
    const running = failure(run(MAIL, context(config, undefined, { signal: stop.signal }))).then((thrown) => {
      error = thrown
    })
    await until('the server is silent', smtp.silent)
    expect(error).toBeNull()
    stop.abort('cancelled')
    // Well below the limits of the connection itself, which would end it as well.
    await until('the job has ended', () => error, 5_000)
    await until('the connection is closed', () => smtp.open() === 0, 5_000)
    await running
    expect(error).not.toBeInstanceOf(NonRetryableError)
    expect(smtp.mails).toEqual([])
  })

  test('is not made for a job that was stopped before', async () => {
    const smtp = await startSmtp()
    const config = { smtp: { host: smtp.host, port: smtp.port } }
    await failure(run(MAIL, context(config, undefined, { signal: AbortSignal.abort('cancelled') })))
    expect(smtp.sessions()).toBe(0)
  })

  test('is noted as progress', async () => {
    const smtp = await startSmtp()
    const notes: unknown[] = []
    const progress = async (...note: unknown[]) => void notes.push(note)
    await run(MAIL, context({ smtp: { host: smtp.host, port: smtp.port } }, undefined, { progress }))
    expect(notes).toEqual([[10, 'talking to the mail server']])
  })
})

describe('the payload', () => {
  test.each<[string, object]>([
    ['one address', { to: 'a@b.c' }],
    ['a host without dots', { to: 'user@localhost' }],
    ['a name', { to: 'Ann <a@b.c>' }],
    ['a name in several words', { to: "Dr. Ann O'Neil-Ünal (Sales) <a@b.c>" }],
    ['a quoted name', { to: '"Doe, Jane \\"JD\\" <x>" <a@b.c>' }],
    ['angle brackets alone', { to: '<a@b.c>' }],
    ['several in one text', { to: 'a@b.c, Ann <d@e.f> ,g@h.i' }],
    ['a list', { to: ['a@b.c', 'Ann <d@e.f>, g@h.i'] }],
    ['all signs of a local part', { to: "!#$%&'*+/=?^_`{|}~-.x@b.c" }],
    ['an internationalised domain', { to: 'a@bücher.example' }],
    ['100 recipients in all', { to: Array(50).fill('a@b.c'), cc: Array(49).fill('a@b.c').join(), bcc: 'a@b.c' }],
    ['an empty text', { body: '' }],
    ['an empty subject', { subject: '' }],
    ['a subject of 998 characters', { subject: 'x'.repeat(998) }],
    ['html alone', { body: undefined, html: '<p>' }],
    ['text and html', { body: undefined, text: 'a', html: '<p>' }],
    ['20 attachments', { attachments: Array(20).fill({ name: 'a', content: '' }) }],
  ])('may have %s', (_, fields) => {
    expect(issues({ ...MAIL, ...fields })).toEqual([])
  })

  test.each<[string, unknown, PropertyKey[]?]>([
    ['nothing', ''],
    ['spaces', '  '],
    ['null', null],
    ['a number', 5],
    ['an object', { address: 'a@b.c' }],
    ['an empty list', []],
    ['a number in a list', ['a@b.c', 5], ['to', 1]],
    ['an empty text in a list', ['a@b.c', ''], ['to', 1]],
    ['a list in a list', [['a@b.c']], ['to', 0]],
    ['a name alone', 'Ann'],
    ['no domain', 'ann@'],
    ['no local part', '@example.com'],
    ['empty brackets', 'Ann <>'],
    ['an open bracket', 'Ann <a@b.c'],
    ['a bracket too many', 'a@b.c>'],
    ['two @', 'a@b@c.d'],
    ['two addresses without a comma', 'a@b.c d@e.f'],
    ['two bracketed addresses without a comma', 'Ann <a@b.c> <d@e.f>'],
    ['something after the bracket', 'Ann <a@b.c> Bob'],
    ['an address as a bare name', 'a@b.c <d@e.f>'],
    ['a comma in a bare name', 'Doe, Jane <a@b.c>'],
    ['a comma too many', 'a@b.c,'],
    ['two commas', 'a@b.c,,d@e.f'],
    ['a semicolon between addresses', 'a@b.c; d@e.f'],
    ['a group', 'Friends: a@b.c, d@e.f;'],
    ['an open quote', '"Ann <a@b.c>'],
    ['a space in the address', 'a b@c.d'],
    ['a space in the domain', 'a@exa mple.com'],
    ['a local part beyond ASCII', 'jörg@example.com'],
    ['a quoted local part', '"a b"@c.d'],
    ['a dot at the start', '.a@b.c'],
    ['two dots', 'a..b@c.d'],
    ['two dots in the domain', 'a@b..c'],
    ['a dot at the end', 'a@b.c.'],
    ['a hyphen at the start of the domain', 'a@-b.c'],
    ['an underscore in the domain', 'a@b_c.d'],
    ['a path after the domain', 'a@b.c/d'],
    ['an escape in the domain', 'a@ex%61mple.com'],
    ['a port', 'a@b.c:25'],
    ['an address literal', 'a@[127.0.0.1]'],
    ['an IP address', 'a@127.0.0.1'],
    ['a number for a domain', 'a@256'],
    ['a local part of 65 characters', `${'a'.repeat(65)}@b.c`],
    ['a label of 64 characters', `a@${'b'.repeat(64)}.c`],
    ['a domain of 254 characters', `a@${'b.'.repeat(126)}bb`],
    ['a name of 256 characters', `${'x'.repeat(256)} <a@b.c>`],
    ['101 addresses in a text', Array(101).fill('a@b.c').join()],
    ['101 addresses in a list', Array(101).fill('a@b.c')],
    ['101 addresses in a list of lists', [...Array(99).fill('a@b.c'), 'a@b.c, d@e.f']],
  ])('may not be sent to %s', (_, to, path = ['to']) => {
    expect(issues({ ...MAIL, to })).toMatchObject([{ path }])
  })

  test.each<[string, object, PropertyKey[]]>([
    ['no recipient', { to: undefined }, ['to']],
    ['no subject', { subject: undefined }, ['subject']],
    ['a subject of 999 characters', { subject: 'x'.repeat(999) }, ['subject']],
    ['no body', { body: undefined }, ['body']],
    ['body and text', { text: 'a' }, ['body']],
    ['body and html', { html: 'a' }, ['body']],
    ['two senders', { from: 'a@b.c, d@e.f' }, ['from']],
    ['a list of senders', { from: ['a@b.c'] }, ['from']],
    ['two addresses to reply to', { reply_to: 'a@b.c, d@e.f' }, ['reply_to']],
    ['a bad cc', { cc: ['a@b.c', 'b'] }, ['cc', 1]],
    ['a bad bcc', { bcc: 'b' }, ['bcc']],
    ['101 recipients over all fields', { cc: Array(50).fill('a@b.c'), bcc: Array(50).fill('a@b.c') }, ['bcc']],
    ['21 attachments', { attachments: Array(21).fill({ name: 'a', content: '' }) }, ['attachments']],
    ['an attachment without content', { attachments: [{ name: 'a' }] }, ['attachments', 0, 'content']],
    [
      'an attachment from a file',
      { attachments: [{ name: 'a', content: '', path: '/etc/passwd' }] },
      ['attachments', 0],
    ],
    ['a body from a file', { body: { path: '/etc/passwd' } }, ['body']],
    ['a text from a file', { body: undefined, text: { path: '/etc/passwd' } }, ['text']],
    ['html from a URL', { body: undefined, html: { href: 'http://127.0.0.1/' } }, ['html']],
    ['an attachment instead of the list', { attachments: { path: '/etc/passwd' } }, ['attachments']],
    [
      'the content of an attachment from a file',
      { attachments: [{ name: 'a', content: { path: '/etc/passwd' } }] },
      ['attachments', 0, 'content'],
    ],
    ['an unknown field', { priority: 'high' }, []],
  ])('may not have %s', (_, fields, path) => {
    expect(issues({ ...MAIL, ...fields })).toMatchObject([{ path }])
  })

  test('says that body stands alone, and that one of the three is needed', () => {
    expect(issues({ ...MAIL, text: 'a' })).toMatchObject([{ message: 'must be left out where there is text or html' }])
    expect(issues({ ...MAIL, body: undefined })).toMatchObject([
      { message: 'is missing; text or html will do as well' },
    ])
  })

  test('says how many recipients it may have, and reads no further', () => {
    const to = `${'a@b.c,'.repeat(101)} and so on`
    expect(issues({ ...MAIL, to })).toMatchObject([{ message: 'to, cc and bcc may have 100 addresses together' }])
  })

  test.each<[string, object, PropertyKey[]]>([
    ['an address', { to: 'a@b.c\r\nBcc: x@y.z' }, ['to']],
    ['an address in a list', { to: ['a@b.c', 'd@e.f\nBcc: x@y.z'] }, ['to', 1]],
    ['a name', { to: 'Ann\r\nBcc: x@y.z <a@b.c>' }, ['to']],
    ['a quoted name', { to: '"Ann\r\nBcc: x@y.z" <a@b.c>' }, ['to']],
    ['an SMTP command', { to: 'a@b.c>\r\nRCPT TO:<x@y.z' }, ['to']],
    ['a folded line', { to: 'Ann\r\n <a@b.c>' }, ['to']],
    ['cc', { cc: 'a@b.c\rBcc: x@y.z' }, ['cc']],
    ['bcc', { bcc: ['a@b.c\0'] }, ['bcc', 0]],
    ['from', { from: 'Ann\nBcc: x@y.z <a@b.c>' }, ['from']],
    ['reply_to', { reply_to: 'a@b.c\nBcc: x@y.z' }, ['reply_to']],
    ['subject by CR LF', { subject: 'Hello\r\nBcc: x@y.z' }, ['subject']],
    ['subject by LF', { subject: 'Hello\nBcc: x@y.z' }, ['subject']],
    ['subject by CR', { subject: 'Hello\rBcc: x@y.z' }, ['subject']],
    ['subject by NUL', { subject: 'Hello\0' }, ['subject']],
    ['subject by an encoded word', { subject: '=?utf-8?Q?a=0D=0ABcc:_x@y.z?=' }, ['subject']],
    ['a name by an encoded word', { to: '"=?utf-8?b?DQpCY2M6IHhAeS56?=" <a@b.c>' }, ['to']],
    ['an attachment’s name by an encoded word', file({ name: '=?utf-8?q?a=0D=0A?=' }), ['attachments', 0, 'name']],
    ['an attachment’s name', file({ name: 'a\r\nBcc: x@y.z' }), ['attachments', 0, 'name']],
    ['an attachment’s type', file({ content_type: 'a/b\r\nBcc: x@y.z' }), ['attachments', 0, 'content_type']],
    ['a type’s last line break', file({ content_type: 'a/b\n' }), ['attachments', 0, 'content_type']],
  ])('cannot bring a header of its own through %s', (_, fields, path) => {
    expect(issues({ ...MAIL, ...fields })).toMatchObject([{ path }])
  })

  test.each<[string, object, string]>([
    ['no name', { name: '' }, 'name'],
    ['a folder', { name: '../a' }, 'name'],
    ['a folder of Windows', { name: 'c:\\a' }, 'name'],
    ['a name of 256 characters', { name: 'a'.repeat(256) }, 'name'],
    ['a missing sign', { content: 'YWJ' }, 'content'],
    ['a sign that is not base64', { content: 'YW_j' }, 'content'],
    ['spaces', { content: 'YW Jj' }, 'content'],
    ['a line break', { content: 'YWJj\n' }, 'content'],
    ['padding in the middle', { content: 'YQ==YQ==' }, 'content'],
    ['bits that no byte has', { content: 'YR==' }, 'content'],
    ['the base64 of URLs', { content: '-_-_' }, 'content'],
    ['a type without a subtype', { content_type: 'text' }, 'content_type'],
    ['a type with parameters', { content_type: 'text/plain; charset=utf-8' }, 'content_type'],
    ['the type of a mail in parts', { content_type: 'Multipart/mixed' }, 'content_type'],
    ['the type of a whole mail', { content_type: 'message/rfc822' }, 'content_type'],
  ])('may not have an attachment with %s', (_, fields, field) => {
    expect(issues({ ...MAIL, ...file(fields) })).toMatchObject([{ path: ['attachments', 0, field] }])
  })

  function file(fields: object) {
    return { attachments: [{ name: 'a.txt', content: 'YWJj', ...fields }] }
  }

  test('is described to clients', () => {
    const description = z.toJSONSchema(payloadSchema, { io: 'input', unrepresentable: 'any' })
    expect(description).toMatchObject({
      required: ['to', 'subject'],
      additionalProperties: false,
      properties: { to: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] } },
    })
  })
})

describe('the configuration', () => {
  test('has defaults', () => {
    expect(configSchema.parse({})).toEqual({ from: 'jobmill@localhost', outbox: './data/outbox' })
    expect(configSchema.parse({ smtp: { host: 'mail' } })).toMatchObject({ smtp: { host: 'mail', secure: false } })
  })

  test.each<[string, object, PropertyKey[]]>([
    ['an unknown key', { outboks: 'x' }, []],
    ['a sender that is no address', { from: 'jobmill' }, ['from']],
    ['two senders', { from: 'a@b.c, d@e.f' }, ['from']],
    ['an empty outbox', { outbox: '' }, ['outbox']],
    ['smtp without a host', { smtp: {} }, ['smtp', 'host']],
    ['an unknown key of smtp', { smtp: { host: 'a', password: 'x' } }, ['smtp']],
    ['a port out of range', { smtp: { host: 'a', port: 65_536 } }, ['smtp', 'port']],
    ['a user without a pass', { smtp: { host: 'a', user: 'b' } }, ['smtp']],
    ['a pass without a user', { smtp: { host: 'a', pass: 'b' } }, ['smtp']],
    ['an empty pass', { smtp: { host: 'a', user: 'b', pass: '' } }, ['smtp', 'pass']],
  ])('may not have %s', (_, config, path) => {
    expect(configSchema.safeParse(config).error?.issues).toMatchObject([{ path }])
  })
})
