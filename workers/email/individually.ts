// One mail for each recipient: what was sent is kept at once, so that a retry or a crash sends only the rest.
import { type JobContext, NonRetryableError } from '../../src/define-job.js'
import { type Mailbox, mailboxesOf } from './addresses.js'
import { type Mail, messageIdOf, type Post, type Receipt } from './mail.js'
import type { Config, Payload } from './payload.js'
import { type MailRefusal, mailRefusalOf } from './smtp.js'

/** A hundred of them fit into a checkpoint. */
const MAX_ANSWER_LENGTH = 200

/** The checkpoint: who is done, by their place among the recipients. */
interface Done {
  accepted: number[]
  rejected: { place: number; answer: string }[]
}

/** What a server says of one recipient does not hold up the others. */
export async function sendIndividually({ to }: Payload, mail: Mail, post: Post, ctx: JobContext<Config>) {
  const recipients = unique(mailboxesOf(to))
  const { accepted, rejected } = doneBefore(ctx.lastCheckpoint)
  const isDone = (place: number) => accepted.includes(place) || rejected.some((one) => one.place === place)
  let left: { count: number; answer: string } = { count: 0, answer: '' }
  for (const [place, recipient] of recipients.entries()) {
    if (isDone(place)) continue
    ctx.signal.throwIfAborted()
    const outcome = await sendOne(recipient, place, mail, post, ctx)
    if (outcome === 'sent') accepted.push(place)
    else if (outcome.retryable) left = { count: left.count + 1, answer: outcome.message }
    else rejected.push({ place, answer: outcome.message.slice(0, MAX_ANSWER_LENGTH) })
    // Where nobody was accepted yet it may be the sender that is refused: a rerun is to try all of them again.
    if (isDone(place) && accepted.length > 0) await ctx.checkpoint({ accepted, rejected })
    const done = accepted.length + rejected.length
    await ctx.progress((100 * done) / recipients.length, `${accepted.length} of ${recipients.length} sent`)
  }
  if (left.count > 0) throw new Error(`${left.count} of ${recipients.length} mails are left: ${left.answer}`)
  if (accepted.length === 0) throw new NonRetryableError(`no recipient was accepted: ${rejected[0]?.answer}`)
  const addressOf = (place: number) => recipients[place]?.address ?? ''
  return {
    accepted: accepted.map(addressOf),
    rejected: rejected.map(({ place, answer }) => ({ address: addressOf(place), answer })),
  } satisfies Omit<Receipt, 'message_id'>
}

async function sendOne(
  recipient: Mailbox,
  place: number,
  mail: Mail,
  post: Post,
  ctx: JobContext<Config>,
): Promise<'sent' | MailRefusal> {
  const name = `${ctx.id}.${place + 1}`
  const { from } = mail.envelope
  const own = {
    ...mail,
    to: [recipient],
    messageId: messageIdOf(name, from),
    envelope: { from, to: [recipient.address] },
  }
  try {
    await post(own, name)
    return 'sent'
  } catch (error) {
    const refusal = mailRefusalOf(error)
    // Without a server none of the others would get through either.
    if (refusal === null) throw error
    return refusal
  }
}

function unique(recipients: Mailbox[]): Mailbox[] {
  return recipients.filter(({ address }, i) => recipients.findIndex((other) => other.address === address) === i)
}

function doneBefore(checkpoint: unknown): Done {
  const { accepted = [], rejected = [] } = (checkpoint ?? {}) as Partial<Done>
  return { accepted: [...accepted], rejected: [...rejected] }
}
