// Holds answers to the description of the API, with a validator that shares nothing with what made it: ajv.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

export interface Media {
  schema: { contentSchema?: { items: object } }
  examples?: Record<string, { value?: unknown; $ref?: string }>
}

interface Answer {
  content?: Record<string, Media>
  headers?: Record<string, { $ref: string }>
}

interface Operation {
  operationId: string
  security: object[]
  parameters?: { $ref?: string; name: string; in: string; schema: { type?: string }; example?: unknown }[]
  requestBody?: { required: boolean; content: Record<string, Media> }
  responses: Record<string, Answer & { $ref?: string }>
}

export interface Description {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, Record<string, unknown>>>
}

/** What came back, with its body read. */
export interface Received {
  status: number
  headers: Headers
  text: string
}

/** `stack` would be told by one of them; attempts have a field for it. */
const STACK = /\n\s+at .+:\d+:\d+|node_modules|\.ts:\d+/

const essence = (type: string | null) => type?.split(';', 1)[0]?.trim() ?? ''
const escaped = (part: string) => part.replaceAll('~', '~0').replaceAll('/', '~1')
export const pointer = (...parts: string[]) => `#/${parts.map(escaped).join('/')}`

export function createContract(description: Description) {
  const ajv = new Ajv2020({ strict: false, allErrors: false, validateSchema: false, logger: false })
  formats.default(ajv)
  ajv.addSchema(description, 'api:')
  const compiled = new Map<string, ValidateFunction>()

  /** What does not fit, or null. `at` is a pointer to a schema in the description. */
  function misfit(at: string, value: unknown): string | null {
    const validate = compiled.get(at) ?? ajv.compile({ $ref: `api:${encodeURI(at)}` })
    compiled.set(at, validate)
    return validate(value) ? null : ajv.errorsText(validate.errors)
  }

  function resolve(path: string, method: string, status: number): { answer: Answer; at: string } | null {
    const found = description.paths[path]?.[method]?.responses[status]
    if (found === undefined) return null
    if (found.$ref === undefined) return { answer: found, at: pointer('paths', path, method, 'responses', `${status}`) }
    return { answer: description.components.responses?.[found.$ref.split('/')[3] ?? ''] as Answer, at: found.$ref }
  }

  function bodyMisfits(media: string, { schema }: Media, at: string, text: string): (string | null)[] {
    if (/[/+]json$/.test(media)) return [misfit(at, parsed(text))]
    if (schema.contentSchema === undefined) return []
    const values = media === 'text/event-stream' ? messages(text) : text.split('\n').filter(Boolean)
    return values.map((value) => misfit(`${at}/contentSchema/items`, parsed(value)))
  }

  return {
    misfit,

    /** What an answer has that the description does not, or the other way round. */
    deviations(path: string, method: string, { status, headers, text }: Received, withBody = true): string[] {
      const found = resolve(path, method, status)
      if (found === null) return [`${status} is not described: ${text.slice(0, 300)}`]
      const { answer, at } = found
      const lacking = Object.entries(answer.headers ?? {})
        .filter(([, { $ref }]) => description.components.headers?.[$ref.split('/')[3] ?? '']?.required === true)
        .filter(([name]) => !headers.has(name))
        .map(([name]) => `${status} has no header ${name}`)
      if (!withBody) return lacking
      if (answer.content === undefined) return text === '' ? lacking : [`${status} has a body`, ...lacking]
      const type = essence(headers.get('content-type'))
      const media = Object.hasOwn(answer.content, type) ? type : '*/*'
      const content = answer.content[media]
      if (content === undefined) return [`${status} is ${type}, which is not described`, ...lacking]
      const misfits = bodyMisfits(media, content, `${at}/content/${escaped(media)}/schema`, text)
      const leak = status >= 400 && STACK.test(text) ? [`${status} tells a stack: ${text}`] : []
      return [...lacking, ...leak, ...misfits.flatMap((text) => (text === null ? [] : [`${status}: ${text}`]))]
    },
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return `not JSON: ${text.slice(0, 200)}`
  }
}

/** The data of unnamed messages: named ones have data of their own. */
function messages(text: string): string[] {
  const whole = text.slice(0, text.lastIndexOf('\n\n') + 1).split('\n\n')
  return whole.filter((part) => !/^event:/m.test(part)).flatMap((part) => /^data: (.*)$/m.exec(part)?.[1] ?? [])
}

/** A stream that may have nothing to tell. */
export const BEGUN = /^retry: /m

/** Reads an answer whole; of a stream what comes first, its first message where nothing else is `enough`. */
export async function receive(url: string, init: RequestInit = {}, enough = /^data: /m): Promise<Received> {
  const leaving = new AbortController()
  const { status, headers, body } = await fetch(url, { redirect: 'manual', ...init, signal: leaving.signal })
  const endless = essence(headers.get('content-type')) === 'text/event-stream'
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (endless && enough.test(text)) break
  }
  if (endless) leaving.abort()
  return { status, headers, text }
}
