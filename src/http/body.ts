// Reads a request's body: JSON whatever its content type says, a plain form where it is one, within limits.
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import qs from 'qs'
import { ServiceError } from '../errors.js'
import { refuseExtremes } from '../json.js'

const MAX_FIELDS = 1_000
/** So much of a body that is too large is still read and dropped, so that the client gets to see the answer. */
const MAX_DISCARDED = 16 * 1024 * 1024

/**
 * The parsed body; undefined where there is none. A form without the `field` that it must have is none.
 *
 * @throws ServiceError malformed_request, body_too_large, unsupported_media_type
 */
export async function readBody(req: IncomingMessage, limit: number, field?: string): Promise<unknown> {
  const form = refuseOtherForms(req)
  const bytes = await readBytes(req, limit)
  if (bytes.length === 0) return undefined
  if (!isUtf8(bytes)) throw new ServiceError('malformed_request', 'the body is not valid UTF-8')
  const text = bytes.toString('utf8')
  const value = form && !/^\s*[{[]/.test(text) ? parseForm(text, field) : parseJson(text)
  refuseExtremes(value)
  return value
}

/** Whether the content type says that it is a form. curl says so of every body, also of JSON. */
function refuseOtherForms(req: IncomingMessage): boolean {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = req.headers
  if (encoding !== 'identity')
    throw new ServiceError('unsupported_media_type', 'send the body without a Content-Encoding')
  if (type === '') return false
  const essence = type.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (essence.startsWith('multipart/') || essence === 'application/x-ndjson') {
    throw new ServiceError('unsupported_media_type', `${essence} is not read here, send JSON`)
  }
  const charset = /;\s*charset="?([^\s;"]+)/i.exec(type)?.[1]?.toLowerCase() ?? 'utf-8'
  if (!['utf-8', 'utf8', 'us-ascii'].includes(charset)) {
    throw new ServiceError('unsupported_media_type', 'send the body as UTF-8')
  }
  return essence === 'application/x-www-form-urlencoded'
}

function readBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const tooLarge = () =>
      reject(new ServiceError('body_too_large', `the body may have ${limit} bytes (server.body_limit)`))
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) chunks.push(chunk)
      else {
        chunks.length = 0
        if (size > limit + MAX_DISCARDED) tooLarge()
      }
    })
    req.on('end', () => {
      if (size > limit) tooLarge()
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    })
    req.on('error', () => reject(new ServiceError('malformed_request', 'the body ended before its time')))
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ServiceError('malformed_request', `the body is not JSON: ${error instanceof Error ? error.message : ''}`)
  }
}

/** Nothing of it is dropped without a word. */
function readForm(text: string): Record<string, unknown> {
  try {
    return qs.parse(text, { depth: 10, parameterLimit: MAX_FIELDS, throwOnLimitExceeded: true, allowPrototypes: true })
  } catch {
    throw new ServiceError('malformed_request', `a form may have ${MAX_FIELDS} fields`)
  }
}

/** Everything in a form is text; the envelope's numbers are read as such, the payload stays as it is. */
function parseForm(text: string, field: string | undefined): unknown {
  const form = readForm(text)
  // curl calls every body a form: one without a single field is something else.
  if (!text.includes('=') || (field !== undefined && !Object.hasOwn(form, field))) {
    const wanted = field === undefined ? '' : ` with "${field}"`
    throw new ServiceError('malformed_request', `the body is neither JSON nor a form${wanted}`)
  }
  for (const name of ['priority', 'retry_count', 'timeout', 'delay']) {
    const value = form[name]
    if (typeof value === 'string' && /^\d{1,15}$/.test(value)) form[name] = Number(value)
  }
  return form
}
