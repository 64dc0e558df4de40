// The built-in job type `email`: sends one mail by SMTP, or writes it whole into the outbox folder.
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { domainToASCII } from 'node:url'
import nodemailer, { type SendMailOptions } from 'nodemailer'
import addressparser from 'nodemailer/lib/addressparser'
import { z } from 'zod'
import { defineJob, type JobContext, NonRetryableError } from '../src/define-job.js'

const MAX_RECIPIENTS = 100
const MAX_ATTACHMENTS = 20
const ADDRESS_HINT = 'must be an address such as "ann@example.com" or "Ann <ann@example.com>"'
const CONNECT_LIMIT_MS = 10_000
const SILENCE_LIMIT_MS = 30_000

/** RFC 5321 dot-atom with an ASCII local part; the domain may be internationalised, and a bare host such as localhost. */
const LOCAL_PART = /^[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*$/
const DOMAIN = /^(?=.{1,253}$)[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/i

function isAddress(address: string): boolean {
  const at = address.lastIndexOf('@')
  const [local, domain] = [address.slice(0, at), address.slice(at + 1)]
  return at > 0 && at <= 64 && LOCAL_PART.test(local) && DOMAIN.test(domainToASCII(domain))
}

/** Header injection starts with a line break; none belongs into any header of a mail. */
function hasControls(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return /[\u0000-\u001f\u007f]/.test(text)
}

function mailboxes(text: string): string[] | null {
  if (hasControls(text)) return null
  const parsed = addressparser(text)
  const addresses = parsed.flatMap(({ address }) => (address !== undefined && isAddress(address) ? [address] : []))
  return parsed.length > 0 && addresses.length === parsed.length ? addresses : null
}

const oneAddress = z.string().refine((text) => mailboxes(text)?.length === 1, ADDRESS_HINT)
const addressList = z.string().refine((text) => mailboxes(text) !== null, ADDRESS_HINT)
const recipients = z
  .union([z.string(), z.array(addressList).min(1).max(MAX_RECIPIENTS)], { error: `${ADDRESS_HINT}, or a list of such` })
  .superRefine((value, ctx) => {
    if (typeof value === 'string' && mailboxes(value) === null) ctx.addIssue({ code: 'custom', message: ADDRESS_HINT })
  })

const attachment = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(255)
    .refine((name) => !hasControls(name) && !/[/\\]/.test(name), 'must be a file name without folders'),
  content: z.base64('must be base64'),
  content_type: z
    .string()
    .regex(/^[\w!#$&^.+-]{1,100}\/[\w!#$&^.+-]{1,100}$/, 'must be a media type such as "application/pdf"')
    .optional(),
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
      .refine((text) => !hasControls(text), 'must not contain line breaks or control characters'),
    /** Plain text, the short form of `text`. */
    body: z.string().optional(),
    text: z.string().optional(),
    html: z.string().optional(),
    attachments: z.array(attachment).max(MAX_ATTACHMENTS).optional(),
  })
  .superRefine(({ to, cc, bcc, body, text, html }, ctx) => {
    const excess = body !== undefined && (text !== undefined || html !== undefined)
    if (excess)
      ctx.addIssue({ code: 'custom', path: ['body'], message: 'must be left out where there is text or html' })
    if (body === undefined && text === undefined && html === undefined) {
      ctx.addIssue({ code: 'custom', path: ['body'], message: 'is missing; text or html will do as well' })
    }
    if ([to, cc, bcc].flatMap((field) => addressesOf(field)).length > MAX_RECIPIENTS) {
      ctx.addIssue({
        code: 'custom',
        path: ['to'],
        message: `to, cc and bcc may have ${MAX_RECIPIENTS} addresses together`,
      })
    }
  })

const smtp = z
  .strictObject({
    host: z.string().min(1),
    port: z.int().min(1).max(65_535).optional(),
    secure: z.boolean().default(false),
    user: z.string().optional(),
    pass: z.string().optional(),
  })
  .refine(({ user, pass }) => (user === undefined) === (pass === undefined), 'must have user and pass, or neither')

const config = z.strictObject({
  from: oneAddress.default('jobmill@localhost'),
  outbox: z.string().min(1).default('./data/outbox'),
  smtp: smtp.optional(),
})

type Payload = z.output<typeof payload>
type Config = z.output<typeof config>

export default defineJob({
  description: 'Send a mail: by SMTP where jobs.email.smtp is set, into the outbox folder otherwise',
  payload,
  config,
  timeout: '60s',
  retry_count: 3,
  run(payload, ctx) {
    const mail = compose(payload, ctx)
    return ctx.config.smtp === undefined ? writeToOutbox(mail, ctx) : sendBySmtp(mail, ctx.config.smtp, ctx)
  },
})

function addressesOf(field: string | string[] | undefined): string[] {
  return [field ?? []].flat().flatMap((text) => mailboxes(text) ?? [])
}

function compose(payload: Payload, ctx: JobContext<Config>): SendMailOptions {
  const from = payload.from ?? ctx.config.from
  const [sender = ''] = addressesOf(from)
  const text = payload.body ?? payload.text
  return {
    from,
    to: payload.to,
    subject: payload.subject,
    // The same over all attempts, so that a mail server or reader can tell a repeated mail.
    messageId: `<${ctx.id}@${domainToASCII(sender.slice(sender.lastIndexOf('@') + 1))}>`,
    disableFileAccess: true,
    disableUrlAccess: true,
    ...(payload.cc === undefined ? {} : { cc: payload.cc }),
    ...(payload.bcc === undefined ? {} : { bcc: payload.bcc }),
    ...(payload.reply_to === undefined ? {} : { replyTo: payload.reply_to }),
    ...(text === undefined ? {} : { text }),
    ...(payload.html === undefined ? {} : { html: payload.html }),
    attachments: (payload.attachments ?? []).map(({ name, content, content_type }) => ({
      filename: name,
      content: Buffer.from(content, 'base64'),
      ...(content_type === undefined ? {} : { contentType: content_type }),
    })),
  }
}

async function sendBySmtp(
  mail: SendMailOptions,
  { user, pass, port, ...server }: z.output<typeof smtp>,
  ctx: JobContext<Config>,
) {
  const transport = nodemailer.createTransport({
    ...server,
    port: port ?? (server.secure ? 465 : 587),
    ...(user === undefined || pass === undefined ? {} : { auth: { user, pass } }),
    connectionTimeout: CONNECT_LIMIT_MS,
    greetingTimeout: CONNECT_LIMIT_MS,
    socketTimeout: SILENCE_LIMIT_MS,
  })
  await ctx.progress(10, 'talking to the mail server')
  try {
    const { messageId, accepted, rejectedErrors = [] } = await transport.sendMail({ ...mail, signal: ctx.signal })
    // To try the refused ones again would send a second mail to all others.
    const rejected = rejectedErrors.map(({ recipient, response, message }) => ({
      address: recipient,
      answer: response ?? message,
    }))
    return { message_id: messageId, accepted: accepted.map(addressOf), rejected }
  } catch (error) {
    throw retryableOrNot(error)
  } finally {
    transport.close()
  }
}

function addressOf(recipient: string | { address: string }): string {
  return typeof recipient === 'string' ? recipient : recipient.address
}

/** RFC 5321 §4.2.1: a 4yz answer may be different next time, a 5yz answer will not. */
function retryableOrNot(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  const status = 'responseCode' in error ? Number(error.responseCode) : 0
  const message = error.message.replace(/\s+/g, ' ').trim()
  return status >= 500 && status < 600 ? new NonRetryableError(message) : new Error(message)
}

async function writeToOutbox(mail: SendMailOptions, ctx: JobContext<Config>) {
  const composer = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  const { message, messageId, envelope } = await composer.sendMail(mail)
  const file = `${ctx.id}.eml`
  try {
    await writeWhole(ctx.resolve(ctx.config.outbox), file, message as Buffer)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : String(error)
    throw new Error(`cannot write into the outbox "${ctx.config.outbox}" (${code})`)
  }
  return { message_id: messageId, accepted: envelope.to, rejected: [], file }
}

/** Under its name only when it is whole and on disk: a crash leaves no half of a mail. */
async function writeWhole(folder: string, name: string, content: Buffer): Promise<void> {
  const draft = join(folder, `.${name}.draft`)
  await mkdir(folder, { recursive: true })
  try {
    const file = await open(draft, 'w')
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, join(folder, name))
    await syncFolder(folder)
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {})
    throw error
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
