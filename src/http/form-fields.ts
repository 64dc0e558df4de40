// A form for what a JSON Schema describes: one field for each value, and back from what was typed in to the value.
import { z } from 'zod'
import type { FieldError } from '../errors.js'

/**
 * `mixed` takes a text, a number or JSON, whatever the schema takes; `lines` is a list of texts, one a line; `json` is all
 * that has no better form.
 */
type FieldKind = 'line' | 'text' | 'number' | 'choice' | 'lines' | 'mixed' | 'json'

export interface Field {
  /** Where its value is in the body of POST /jobs: a JSON Pointer (RFC 6901). It names the field in the form, too. */
  pointer: string
  label: string
  kind: FieldKind
  required: boolean
  hint: string
  /** What may be chosen: the values as JSON. */
  choices: readonly string[]
}

/** What is looked at of a JSON Schema (draft 2020-12), which may have come from anybody's type. */
const schemaShape = z.looseObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).optional(),
  items: z.unknown().optional(),
  enum: z.array(z.unknown()).optional(),
  anyOf: z.array(z.unknown()).optional(),
  format: z.string().optional(),
  pattern: z.string().optional(),
  maxLength: z.number().optional(),
  description: z.string().optional(),
  default: z.unknown().optional(),
})
type Schema = z.output<typeof schemaShape>

/** Deeper than this, and where there are more than so many, a value is typed in as JSON. */
const DEEPEST = 3
const MOST_FIELDS = 50
/** A line is as long as that, at most; what may be longer gets an area. */
const LONGEST_LINE = 1_000

/** `pointer` is where the value that `schema` describes is in the body. */
export function fieldsOf(schema: unknown, pointer: string): Field[] {
  const whole = [fieldOf(read(schema), pointer, pointer.slice(1), false)]
  const fields = inner(read(schema), pointer, '', true, 1) ?? whole
  return fields.length > MOST_FIELDS ? whole : fields
}

/** The fields of an object; null where the value has no fields that can be told. */
function inner(schema: Schema, pointer: string, label: string, needed: boolean, depth: number): Field[] | null {
  const { type, properties = {}, required = [], additionalProperties } = schema
  const entries = Object.entries(properties)
  // Forms give square brackets a meaning of their own.
  const odd = entries.some(([name]) => /[[\]]/.test(name))
  if (type !== 'object' || entries.length === 0 || odd || depth > DEEPEST) return null
  if (additionalProperties !== undefined && additionalProperties !== false) return null
  return entries.flatMap(([name, value]) => {
    const below = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    const shown = label === '' ? name : `${label} ${name}`
    const must = needed && required.includes(name)
    return inner(read(value), below, shown, must, depth + 1) ?? [fieldOf(read(value), below, shown, must)]
  })
}

function fieldOf(schema: Schema, pointer: string, label: string, required: boolean): Field {
  const usual = schema.default === undefined ? '' : `left out: ${JSON.stringify(schema.default)}`
  const kind = kindOf(schema)
  const shape = kind === 'mixed' && typesOf(schema).has('array') ? 'or a list, as JSON' : (SHAPES[kind] ?? '')
  const hint = [plain(schema.description ?? ''), shape, usual].filter((part) => part !== '').join('; ')
  return { pointer, label, kind, required, hint, choices: kind === 'choice' ? choicesOf(schema) : [] }
}

/** Descriptions are written as Markdown (CommonMark), as those of the API are; here they are part of a line. */
const plain = (description: string) => description.replaceAll('`', '').replace(/\.$/, '')

const SHAPES: Partial<Record<FieldKind, string>> = { json: 'as JSON', lines: 'one a line' }

function choicesOf({ type, enum: values }: Schema): string[] {
  return type === 'boolean' ? ['true', 'false'] : (values ?? []).map((value) => JSON.stringify(value))
}

function kindOf(schema: Schema): FieldKind {
  const { type, items, enum: values, format, pattern, maxLength = Number.POSITIVE_INFINITY } = schema
  if (type === 'boolean' || (values !== undefined && values.length > 0)) return 'choice'
  if (type === 'number' || type === 'integer') return 'number'
  if (type === 'array') return read(items).type === 'string' ? 'lines' : 'json'
  if (typesOf(schema).size > 1 && typesOf(schema).has('string')) return 'mixed'
  if (type !== 'string') return 'json'
  return format !== undefined || pattern !== undefined || maxLength <= LONGEST_LINE ? 'line' : 'text'
}

function typesOf({ type, anyOf = [] }: Schema): Set<string> {
  return new Set([...(type === undefined ? [] : [type].flat()), ...anyOf.flatMap((one) => [...typesOf(read(one))])])
}

function read(schema: unknown): Schema {
  return schemaShape.safeParse(schema).data ?? {}
}

/** What somebody typed in, by pointer. */
export type Typed = ReadonlyMap<string, string>

/** The body that `typed` stands for, and what of it cannot be read. What was left empty is left out. */
export function bodyOf(
  fields: readonly Field[],
  typed: Typed,
): { body: Record<string, unknown>; errors: FieldError[] } {
  const body: Record<string, unknown> = {}
  const errors: FieldError[] = []
  for (const field of fields) {
    const text = typed.get(field.pointer) ?? ''
    if (text === '') continue
    const value = valueIn(field, text)
    if (value === undefined) errors.push({ pointer: field.pointer, detail: 'must be JSON' })
    else put(body, field.pointer.split('/').slice(1), value)
  }
  return { body, errors }
}

/** Undefined: it cannot be read. What is not what it must be stays a text, for the schema to say so. */
function valueIn({ kind, choices }: Field, text: string): unknown {
  if (kind === 'json') return parsed(text)
  if (kind === 'choice') return choices.includes(text) ? parsed(text) : text
  if (kind === 'lines') return text.split('\n').filter((line) => line.trim() !== '')
  if (kind === 'number' || kind === 'mixed') return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : listOrText(kind, text)
  return text
}

function listOrText(kind: FieldKind, text: string): unknown {
  return kind === 'mixed' && /^\s*[[{]/.test(text) ? (parsed(text) ?? text) : text
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function put(target: Record<string, unknown>, [step = '', ...rest]: string[], value: unknown): void {
  const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
  const own = Object.hasOwn(target, name) ? target[name] : undefined
  target[name] = rest.length === 0 ? value : (own ?? {})
  if (rest.length > 0) put(target[name] as Record<string, unknown>, rest, value)
}
