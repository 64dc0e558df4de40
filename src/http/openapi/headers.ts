// The headers that matter: what they mean, and what they look like.

export const REQUEST_HEADERS = {
  'Idempotency-Key': {
    description: 'Sent again with the same body, it is answered with what the first one made.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
  Prefer: {
    description: '`wait=10` waits up to so many seconds (60 at the most) for the job to be final (RFC 7240).',
    schema: { type: 'string' },
    example: 'wait=10',
  },
  'If-None-Match': {
    description: 'The `ETag` of what is known already: answered with 304 where it is still the same.',
    schema: { type: 'string' },
  },
  'If-Range': { description: 'The `ETag` of the version that `Range` is a part of.', schema: { type: 'string' } },
  Range: { description: 'The part that is wanted (RFC 9110 §14).', schema: { type: 'string' }, example: 'bytes=0-499' },
  'Last-Event-ID': {
    description: 'The id of the last message that was received: the stream goes on after it.',
    schema: { type: 'string' },
  },
  'HX-Request': {
    description: '`true`, as htmx sends it, asks for an answer in HTML.',
    schema: { type: 'string' },
  },
} as const

export type RequestHeader = keyof typeof REQUEST_HEADERS

const text = { type: 'string' } as const
const seconds = { type: 'integer', minimum: 0 } as const

/** Those with a question mark are there only where their description says. */
export const RESPONSE_HEADERS = {
  Location: { description: 'The path of what was made, or is meant.', required: true, schema: text },
  'Location?': { description: 'The path of what was made, where something was.', required: false, schema: text },
  ETag: { description: 'Names this version; `If-None-Match` takes it.', required: true, schema: text },
  'Retry-After': { description: 'Seconds after which to try again.', required: true, schema: seconds },
  'Retry-After?': {
    description: 'Seconds after which to ask again, where that makes sense.',
    required: false,
    schema: seconds,
  },
  'Link?': {
    description: 'The next page, `rel="next"`, where there is one (RFC 8288).',
    required: false,
    schema: text,
  },
  'Preference-Applied?': {
    description: '`wait=…` as it was applied, where `Prefer` asked for it (RFC 7240).',
    required: false,
    schema: text,
  },
  'HX-Trigger?': {
    description: '`jobAccepted`, `jobCompleted` or `jobFailed`, in answers to htmx.',
    required: false,
    schema: text,
  },
  'WWW-Authenticate': {
    description: 'What to show, and what was wrong with what was shown (RFC 6750).',
    required: true,
    schema: text,
  },
  'WWW-Authenticate?': {
    description: 'The scope that the key has not, where that is why (RFC 6750).',
    required: false,
    schema: text,
  },
  'Accept-Ranges': { description: '`bytes`: parts are answered.', required: true, schema: text },
  'Content-Range': { description: 'Which part this is, and of how much.', required: true, schema: text },
  'Content-Disposition': { description: 'The name of the file (RFC 6266).', required: true, schema: text },
  'Cache-Control': { description: 'How long it may be kept.', required: true, schema: text },
} as const

export type ResponseHeader = keyof typeof RESPONSE_HEADERS
