// Mail addresses: read strictly, one or a list, and as they go over the wire.
import { domainToASCII } from 'node:url'
import { z } from 'zod'

export const MAX_RECIPIENTS = 100
/** Of the name before an address, and of a file. */
export const MAX_NAME_LENGTH = 255
const ADDRESS_HINT = 'must be an address such as "ann@example.com" or "Ann <ann@example.com>"'

const NAME = String.raw`"(?<quoted>(?:[^"\\]|\\.)*)"\s*|(?<plain>[^\s"<>,;:@\\][^"<>,;:@\\]*)?`
const ADDRESS = String.raw`(?:${NAME})<(?<angled>[^\s<>]+)>|(?<bare>[^\s"<>,;:\\]+)`
/** One of a comma-separated list. No two neighbouring parts match the same text, so matching takes linear time. */
const MAILBOX = new RegExp(String.raw`\s*(?:${ADDRESS})\s*(?:,(?!\s*$)|$)`, 'gy')
/** RFC 5321 dot-atom. */
const LOCAL_PART = /^[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*$/
const DOMAIN = /^(?=.{1,253}$)(?!(.*\.)?\d+$)[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/
export type Mailbox = { name: string; address: string }

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
export function isHeaderText(text: string): boolean {
  return !/\p{Cc}|=\?[^?]*\?[bq]\?/iu.test(text)
}

function isAddressList(value: unknown): value is string {
  return mailboxes(value) !== null
}

export const oneAddress = z.string().refine((text) => mailboxes(text)?.length === 1, ADDRESS_HINT)
// An entry of the list is no z.string(): a union would report one of another type at the list, not at the entry.
const entry = z.custom<string>(isAddressList, { error: ADDRESS_HINT, abort: false }).meta({ type: 'string' })
export const recipients = z.union(
  [z.string().refine(isAddressList, ADDRESS_HINT), z.array(entry).min(1).max(MAX_RECIPIENTS)],
  `${ADDRESS_HINT}, or a list of 1 to ${MAX_RECIPIENTS} such`,
)

export function mailboxesOf(...fields: (string | string[] | undefined)[]): Mailbox[] {
  return fields.flat().flatMap((text) => mailboxes(text) ?? [])
}
