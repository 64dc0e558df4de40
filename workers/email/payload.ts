// What a mail may be, and the settings of the type.
import { z } from 'zod'
import { isHeaderText, MAX_NAME_LENGTH, MAX_RECIPIENTS, mailboxesOf, oneAddress, recipients } from './addresses.js'

const MAX_ATTACHMENTS = 20
const TOO_MANY = `to, cc and bcc may have ${MAX_RECIPIENTS} addresses together`
/** Neither a multipart nor a message: these are not encoded, which changes bytes and lets lines grow too long. */
const MEDIA_TYPE = /^(?!(multipart|message)\/)[\w!#$&^.+-]{1,100}\/[\w!#$&^.+-]{1,100}$/i

const NO_CONTENT = 'must be given, or the job whose artifact it is'

const attachment = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(MAX_NAME_LENGTH)
      .refine((name) => isHeaderText(name) && !/[/\\]/.test(name), 'must be a file name without folders')
      .optional(),
    content: z
      .base64({ error: 'must be base64', abort: true })
      .refine((content) => Buffer.from(content, 'base64').toString('base64') === content, 'must be base64')
      .optional(),
    content_type: z.string().regex(MEDIA_TYPE, 'must be a media type such as "application/pdf"').optional(),
    /** Id of a job in `depends_on`. */
    job: z.string().min(1).max(64).optional(),
    /** Name of its artifact; left out: all that it made. */
    artifact: z.string().min(1).max(MAX_NAME_LENGTH).optional(),
  })
  .superRefine(({ name, content, content_type, job, artifact }, ctx) => {
    const refuse = (field: string, message: string) => ctx.addIssue({ code: 'custom', path: [field], message })
    if (job === undefined) {
      if (content === undefined) refuse('content', NO_CONTENT)
      if (name === undefined) refuse('name', 'must be given')
      if (artifact !== undefined) refuse('artifact', 'must be left out where there is no job')
      return
    }
    if (content !== undefined) refuse('content', 'must be left out where there is a job')
    if (content_type !== undefined) refuse('content_type', 'must be left out where there is a job')
    if (name !== undefined && artifact === undefined) refuse('name', 'must be left out where all artifacts are meant')
  })

export const payload = z
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
    /** A mail of its own for each address of `to`. */
    individually: z.boolean().optional(),
  })
  .superRefine(({ to, cc, bcc, body, text, html, individually }, ctx) => {
    for (const [field, value] of Object.entries({ cc, bcc }))
      if (individually === true && value !== undefined)
        ctx.addIssue({ code: 'custom', path: [field], message: 'must be left out where mails go out individually' })
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

export const config = z.strictObject({
  from: oneAddress.default('jobmill@localhost'),
  outbox: z.string().min(1).default('./data/outbox'),
  smtp: smtp.optional(),
})

export type Payload = z.output<typeof payload>
export type Config = z.output<typeof config>
