// The outbox: mails as whole .eml files in a folder, where no mail server is set.
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JobContext } from '../../src/define-job.js'
import type { Post } from './mail.js'
import type { Config } from './payload.js'

export function outboxPost(ctx: JobContext<Config>): Post {
  return async (mail, name) => {
    const { default: nodemailer } = await import('nodemailer')
    const composer = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
    const { message, messageId } = await composer.sendMail(mail)
    const file = `${name}.eml`
    try {
      await writeWhole(ctx.resolve(ctx.config.outbox), file, message as Buffer)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : 'unknown error'
      throw new Error(`cannot write into the outbox "${ctx.config.outbox}" (${code})`)
    }
    return { message_id: messageId, accepted: mail.envelope.to, rejected: [], file }
  }
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
