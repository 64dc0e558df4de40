// Sends by SMTP, and tells what may be tried again from what may not.
import { type JobContext, NonRetryableError } from '../../src/define-job.js'
import type { Mail, Post, Receipt } from './mail.js'
import type { Config } from './payload.js'

const MAX_ANSWER_LENGTH = 500
// Both below the type's timeout, whose error could not say what was waited for.
const CONNECT_LIMIT_MS = 15_000
const SILENCE_LIMIT_MS = 45_000

/** What a server answered about this mail alone: others may get through. */
export interface MailRefusal {
  message: string
  retryable: boolean
}

/** The refusal that a Post threw, or null where it threw something else. */
export function mailRefusalOf(error: unknown): MailRefusal | null {
  if (!(error instanceof Error && 'of_mail' in error)) return null
  return { message: error.message, retryable: !(error instanceof NonRetryableError) }
}

export function smtpPost(smtp: NonNullable<Config['smtp']>, ctx: JobContext<Config>): Post {
  const { host, secure, port = secure ? 465 : 587, user, pass = '' } = smtp
  const coded = [`\0${user}\0${pass}`, pass].map((text) => Buffer.from(text).toString('base64'))
  const secrets = pass === '' ? [] : [...coded, pass]

  return async (mail: Mail): Promise<Receipt> => {
    const { default: nodemailer } = await import('nodemailer')
    const transport = nodemailer.createTransport({
      host,
      port,
      secure,
      auth: user === undefined ? undefined : { user, pass },
      connectionTimeout: CONNECT_LIMIT_MS,
      greetingTimeout: CONNECT_LIMIT_MS,
      socketTimeout: SILENCE_LIMIT_MS,
    })
    try {
      const { messageId, accepted, rejectedErrors = [] } = await transport.sendMail({ ...mail, signal: ctx.signal })
      // To try the refused ones again would send a second mail to all others.
      const rejected = rejectedErrors.map(({ recipient, response, message }) => ({
        address: recipient ?? '',
        answer: oneLine(response ?? message, secrets),
      }))
      return { message_id: messageId, accepted, rejected }
    } catch (error) {
      throw refusalOf(error, secrets)
    }
  }
}

/** RFC 5321 §4.2.1: a 4yz answer may be different next time, a 5yz answer will not. */
function refusalOf(error: unknown, secrets: string[]): Error {
  const message = oneLine(error instanceof Error ? error.message : String(error), secrets)
  const status = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0
  const code = error instanceof Error && 'code' in error ? error.code : ''
  const of_mail = status >= 400 && (code === 'EENVELOPE' || code === 'EMESSAGE')
  const refusal = status >= 500 && status < 600 ? new NonRetryableError(message) : new Error(message)
  return of_mail ? Object.assign(refusal, { of_mail }) : refusal
}

/** A server may answer with many lines, and some repeat what they did not understand, the login included. */
function oneLine(answer: string, secrets: string[]): string {
  const safe = secrets.reduce((text, secret) => text.replaceAll(secret, '***'), answer)
  return safe.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, MAX_ANSWER_LENGTH)
}
