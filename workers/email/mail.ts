// Makes the mail of a payload, and what sending it answers.
import type { SendMailOptions } from 'nodemailer'
import type { JobContext } from '../../src/define-job.js'
import { mailboxesOf } from './addresses.js'
import { attachmentsOf } from './attachments.js'
import type { Config, Payload } from './payload.js'

export type Mail = SendMailOptions & { envelope: { from: string; to: string[] } }

export interface Receipt {
  message_id: string
  accepted: string[]
  rejected: { address: string; answer: string }[]
  /** In the outbox. */
  file?: string
}

/** Sends one mail; `name` is the job's own word for it. */
export type Post = (mail: Mail, name: string) => Promise<Receipt>

/** nodemailer is loaded where it is used: it takes 15 MB of every thread, and of the main one, which only checks payloads. */
export async function compose(payload: Payload, ctx: JobContext<Config>): Promise<Mail> {
  const { to, cc, bcc, reply_to, subject, html, body, text, attachments } = payload
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
    messageId: messageIdOf(ctx.id, sender),
    disableFileAccess: true,
    disableUrlAccess: true,
    text: body ?? text,
    html,
    attachments: attachments && (await attachmentsOf(attachments, ctx)),
  }
}

/** The same over all attempts, so that a mail server or reader can tell a repeated mail. */
export function messageIdOf(name: string, sender: string): string {
  return `<${name}@${sender.slice(sender.lastIndexOf('@') + 1)}>`
}
