// The built-in job type `email`: sends one mail by SMTP, or writes it whole into the outbox folder.
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { domainToASCII } from 'node:url'
import type { SendMailOptions } from 'nodemailer'
import { z } from 'zod'
import { defineJob, type JobContext, NonRetryableError } from '../src/define-job.js'

const MAX_RECIPIENTS = 100
const MAX_ATTACHMENTS = 20
const MAX_NAME_LENGTH = 255
const MAX_ANSWER_LENGTH = 500
const OCTETS = 'application/octet-stream'
const ADDRESS_HINT = 'must be an address such as "ann@example.com" or "Ann <ann@example.com>"'
const TOO_MANY = `to, cc and bcc may have ${MAX_RECIPIENTS} addresses together`
// Both below the type's timeout, whose error could not say what was waited for.
const CONNECT_LIMIT_MS = 15_000
const SILENCE_LIMIT_MS = 45_000

const NAME = String.raw`"(?<quoted>(?:[^"\\]|\\.)*)"\s*|(?<plain>[^\s"<>,;:@\\][^"<>,;:@\\]*)?`
const ADDRESS = String.raw`(?:${NAME})<(?<angled>[^\s<>]+)>|(?<bare>[^\s"<>,;:\\]+)`
/** One of a comma-separated list. No two neighbouring parts match the same text, so matching takes linear time. */
const MAILBOX = new RegExp(String.raw`\s*(?:${ADDRESS})\s*(?:,(?!\s*$)|$)`, 'gy')
/** RFC 5321 dot-atom. */
const LOCAL_PART = /^[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*$/
const DOMAIN = /^(?=.{1,253}$)(?!(.*\.)?\d+$)[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/
/** Neither a multipart nor a message: these are not encoded, which changes bytes and lets lines grow too long. */
const MEDIA_TYPE = /^(?!(multipart|message)\/)[\w!#$&^.+-]{1,100}\/[\w!#$&^.+-]{1,100}$/i

type Mailbox = { name: string; address: string }

/** Not nodemailer's parser: that one reads "a@b.c d@e.f" as one address and loses the other without a word. */
function mailboxes(text: unknown): Mailbox[] | null {
  if (typeof text !== 'string' || !isHeaderText(text)) return null
  const found: Mailbox[] = []
  let end = 0
  for (const { 0: part, groups: { quoted, plain = '', angled, bare = '' } = {} } of text.matchAll(MAILBOX)) {
    const address = asciiAddress(angled ?? bare)
    const name = quoted?.replace(/\\(.)/g, '$1') ?? plain.trim()
    if (address === null || name.length > MAX_NAME_LENGTH) return null
    found.push({ name, address })
    end += part.length
    // Too many whatever follows: a long text must not hold up the thread that checks submissions.
    if (found.length > MAX_RECIPIENTS) return found
  }
  return end === text.length && found.length > 0 ? found : null
}

/** The address as it goes over the wire, or null where it is none. */
function asciiAddress(text: string): string | null {
  const at = text.lastIndexOf('@')
  const [local, domain] = [text.slice(0, at), text.slice(at + 1)]
  if (at < 1 || at > 64 || !LOCAL_PART.test(local)) return null
  // domainToASCII reads a host as URLs do: it decodes "%41", and it cuts off what follows a "/".
  if (domain.length > 253 || !/^[a-z\d.\u0080-\uffff-]+$/i.test(domain)) return null
  const ascii = domainToASCII(domain)
  return DOMAIN.test(ascii) ? `${local}@${ascii}` : null
}

/** Line breaks start a header of their own; in an encoded word (RFC 2047) they would do so at whoever decodes it. */
function isHeaderText(text: string): boolean {
  return !/\p{Cc}|=\?[^?]*\?[bq]\?/iu.test(text)
}

function isAddressList(value: unknown): value is string {
  return mailboxes(value) !== null
}

const oneAddress = z.string().refine((text) => mailboxes(text)?.length === 1, ADDRESS_HINT)
// An entry of the list is no z.string(): a union would report one of another type at the list, not at the entry.
const entry = z.custom<string>(isAddressList, { error: ADDRESS_HINT, abort: false }).meta({ type: 'string' })
const recipients = z.union(
  [z.string().refine(isAddressList, ADDRESS_HINT), z.array(entry).min(1).max(MAX_RECIPIENTS)],
  `${ADDRESS_HINT}, or a list of 1 to ${MAX_RECIPIENTS} such`,
)

const attachment = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(MAX_NAME_LENGTH)
    .refine((name) => isHeaderText(name) && !/[/\\]/.test(name), 'must be a file name without folders'),
  content: z
    .base64({ error: 'must be base64', abort: true })
    .refine((content) => Buffer.from(content, 'base64').toString('base64') === content, 'must be base64'),
  content_type: z.string().regex(MEDIA_TYPE, 'must be a media type such as "application/pdf"').optional(),
})

const payload = z
  .strictObject({
    to: recipients,
    cc: recipients.optional(),
    bcc: recipients.optional(),
    from: oneAddress.optional(),
    reply_to: oneAddress.optional(),
    subject: z
      .string()
      .max(998)
      .refine(isHeaderText, 'must not contain control characters, line breaks or encoded words such as "=?utf-8?Q?…"'),
    /** Plain text, the short form of `text`. */
    body: z.string().optional(),
    text: z.string().optional(),
    html: z.string().optional(),
    attachments: z.array(attachment).max(MAX_ATTACHMENTS).optional(),
  })
  .superRefine(({ to, cc, bcc, body, text, html }, ctx) => {
    const other = text !== undefined || html !== undefined
    const message = other ? 'must be left out where there is text or html' : 'is missing; text or html will do as well'
    if ((body !== undefined) === other) ctx.addIssue({ code: 'custom', path: ['body'], message })
    let count = 0
    for (const [field, value] of Object.entries({ to, cc, bcc })) {
      count += mailboxesOf(value).length
      if (count <= MAX_RECIPIENTS) continue
      ctx.addIssue({ code: 'custom', path: [field], message: TOO_MANY })
      break
    }
  })

const smtp = z
  .strictObject({
    host: z.string().min(1),
    port: z.int().min(1).max(65_535).optional(),
    secure: z.boolean().default(false),
    user: z.string().min(1).optional(),
    pass: z.string().min(1).optional(),
  })
  .refine(({ user, pass }) => (user === undefined) === (pass === undefined), 'must have user and pass, or neither')

const config = z.strictObject({
  from: oneAddress.default('jobmill@localhost'),
  outbox: z.string().min(1).default('./data/outbox'),
  smtp: smtp.optional(),
})

type Payload = z.output<typeof payload>
type Config = z.output<typeof config>
type Mail = SendMailOptions & { envelope: { from: string; to: string[] } }

export default defineJob({
  description: 'Send a mail: by SMTP where jobs.email.smtp is set, into the outbox folder otherwise',
  payload,
  config,
  timeout: '60s',
  retry_count: 3,
  async run(payload, ctx) {
    const mail = await compose(payload, ctx)
    return ctx.config.smtp === undefined ? writeToOutbox(mail, ctx) : sendBySmtp(mail, ctx.config.smtp, ctx)
  },
})

function mailboxesOf(...fields: (string | string[] | undefined)[]): Mailbox[] {
  return fields.flat().flatMap((text) => mailboxes(text) ?? [])
}

/** nodemailer is loaded where it is used: it takes 15 MB of every thread, and of the main one, which only checks payloads. */
async function compose(
  { to, cc, bcc, reply_to, subject, html, ...payload }: Payload,
  ctx: JobContext<Config>,
): Promise<Mail> {
  const { detectMimeType } = await import('nodemailer/lib/mime-funcs')
  const from = mailboxesOf(payload.from ?? ctx.config.from)
  const sender = from[0]?.address ?? ''
  return {
    from,
    to: mailboxesOf(to),
    cc: mailboxesOf(cc),
    replyTo: mailboxesOf(reply_to),
    // `bcc` is only here: as a field of the mail the outbox would show it in the headers.
    envelope: { from: sender, to: [...new Set(mailboxesOf(to, cc, bcc).map(({ address }) => address))] },
    subject,
    // The same over all attempts, so that a mail server or reader can tell a repeated mail.
    messageId: `<${ctx.id}@${sender.slice(sender.lastIndexOf('@') + 1)}>`,
    disableFileAccess: true,
    disableUrlAccess: true,
    text: payload.body ?? payload.text,
    html,
    attachments: payload.attachments?.map(({ name, content, content_type }) => ({
      filename: name,
      content: Buffer.from(content, 'base64'),
      contentType: content_type ?? detectMimeType(name).replace(/^(multipart|message)\/.*/, OCTETS),
    })),
  }
}

async function sendBySmtp(mail: Mail, smtp: NonNullable<Config['smtp']>, ctx: JobContext<Config>) {
  const { default: nodemailer } = await import('nodemailer')
  const { host, secure, port = secure ? 465 : 587, user, pass = '' } = smtp
  const transport = nodemailer.createTransport({
    host,
    port,
    secure,
    auth: user === undefined ? undefined : { user, pass },
    connectionTimeout: CONNECT_LIMIT_MS,
    greetingTimeout: CONNECT_LIMIT_MS,
    socketTimeout: SILENCE_LIMIT_MS,
  })
  const coded = [`\0${user}\0${pass}`, pass].map((text) => Buffer.from(text).toString('base64'))
  const secrets = pass === '' ? [] : [...coded, pass]
  await ctx.progress(10, 'talking to the mail server')
  try {
    const { messageId, accepted, rejectedErrors = [] } = await transport.sendMail({ ...mail, signal: ctx.signal })
    // To try the refused ones again would send a second mail to all others.
    const rejected = rejectedErrors.map(({ recipient, response, message }) => ({
      address: recipient,
      answer: oneLine(response ?? message, secrets),
    }))
    return { message_id: messageId, accepted, rejected }
  } catch (error) {
    throw retryableOrNot(error, secrets)
  }
}

/** RFC 5321 §4.2.1: a 4yz answer may be different next time, a 5yz answer will not. */
function retryableOrNot(error: unknown, secrets: string[]): Error {
  const message = oneLine(error instanceof Error ? error.message : String(error), secrets)
  const status = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0
  return status >= 500 && status < 600 ? new NonRetryableError(message) : new Error(message)
}

/** A server may answer with many lines, and some repeat what they did not understand, the login included. */
function oneLine(answer: string, secrets: string[]): string {
  const safe = secrets.reduce((text, secret) => text.replaceAll(secret, '***'), answer)
  return safe.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, MAX_ANSWER_LENGTH)
}

async function writeToOutbox(mail: Mail, ctx: JobContext<Config>) {
  const { default: nodemailer } = await import('nodemailer')
  const composer = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  const { message, messageId } = await composer.sendMail(mail)
  const file = `${ctx.id}.eml`
  try {
    await writeWhole(ctx.resolve(ctx.config.outbox), file, message as Buffer)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : 'unknown error'
    throw new Error(`cannot write into the outbox "${ctx.config.outbox}" (${code})`)
  }
  return { message_id: messageId, accepted: mail.envelope.to, rejected: [], file }
}

/** Under its name only when it is whole and on disk: a crash leaves no half of a mail. */
async function writeWhole(folder: string, name: string, content: Buffer): Promise<void> {
  const draft = join(folder, `.${name}.draft`)
  await mkdir(folder, { recursive: true })
  try {
    await writeFile(draft, content, { flush: true })
    await rename(draft, join(folder, name))
    const handle = await open(folder, 'r')
    await handle.sync().finally(() => handle.close())
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {})
    throw error
  }
}
