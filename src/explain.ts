// What zod finds, in words: what is allowed, what stands there instead, and which key was probably meant.
import { z } from 'zod'

/** One thing that is wrong, and where in the value it is. */
export interface Finding {
  path: (string | number)[]
  message: string
}

/** The output of `schema` for `value`, or all that is wrong with it. An asynchronous schema throws. */
export function inspect<S extends z.ZodType>(schema: S, value: unknown) {
  const { success, data, error } = schema.safeParse(value, { error: explain })
  if (success) return { ok: true, data } as const
  return { ok: false, findings: error.issues.flatMap((issue) => findingsOf(issue, value)) } as const
}

function findingsOf(issue: z.core.$ZodIssue, value: unknown): Finding[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n')
    return issue.keys.map((key, i) => ({ path: [...path, key], message: messages[i] ?? issue.message }))
  }
  const instead = issue.message.startsWith('must') ? found(path.reduce(ownValue, value), path.join('.')) : ''
  return [{ path, message: [issue.message, instead].filter(Boolean).join(', ') }]
}

export function ownValue(target: unknown, key: PropertyKey): unknown {
  return typeof target === 'object' && target !== null && Object.hasOwn(target, key)
    ? Reflect.get(target, key)
    : undefined
}

const KINDS: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  nonoptional: 'given',
}
const PARTS: Record<string, string> = { string: 'characters', array: 'entries' }

/** What zod says where a schema brings no message of its own. Several unknown keys get a line each, in their order. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = issue.inst instanceof z.ZodObject ? Object.keys(issue.inst.shape) : []
      return issue.keys.map((key) => unknownKey(key, known)).join('\n')
    }
    case 'invalid_type':
      return `must be ${KINDS[issue.expected] ?? issue.expected}`
    case 'invalid_value':
      return `must be ${issue.values.map((value) => (typeof value === 'string' ? `"${value}"` : String(value))).join(' or ')}`
    case 'too_small':
      return mustBe(issue.inclusive === false ? 'more than' : 'at least', issue.minimum, issue.origin)
    case 'too_big':
      return mustBe(issue.inclusive === false ? 'less than' : 'at most', issue.maximum, issue.origin)
    case 'invalid_key':
      return issue.issues[0]?.message
    case 'invalid_union':
      return [...new Set(issue.errors.flat().map(({ message }) => message))].join(', or ') || undefined
    default:
      return undefined
  }
}

/** What is said of a key that is none of `known`. */
export function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  if (near !== null) return `unknown key, did you mean "${near}"?`
  return known.length === 0 ? 'unknown key' : `unknown key, known here: ${known.join(', ')}`
}

function mustBe(relation: string, bound: number | bigint, origin: string): string {
  const parts = PARTS[origin]
  return parts === undefined ? `must be ${relation} ${bound}` : `must have ${relation} ${bound} ${parts}`
}

/** Keys whose values may be or hold a password: problems are logged. */
const SECRET = /pass|secret|token|source|sha256|keys?(\.\d+)?$/i

/** What stands at `path` instead of what must: "is 0", "is a list", "is missing"; "" where it must not be shown. */
function found(value: unknown, path: string): string {
  if (value === undefined) return 'is missing'
  if (value === null) return 'is empty'
  if (typeof value === 'object') return Array.isArray(value) ? 'is a list' : 'is a mapping'
  if (SECRET.test(path)) return ''
  if (typeof value !== 'string') return `is ${value}`
  return value.length > 60 ? `is a text of ${value.length} characters` : `is ${JSON.stringify(value)}`
}

/** The one of `known` that `word` was probably meant to be: at most a third of its letters differ. Or null. */
export function nearest(word: string, known: readonly string[]): string | null {
  const limit = Math.max(1, Math.floor(word.length / 3))
  const candidates = known
    .filter((candidate) => Math.abs(candidate.length - word.length) <= limit)
    .map((candidate) => ({ candidate, distance: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= limit)
    .toSorted((a, b) => a.distance - b.distance)
  return candidates[0]?.candidate ?? null
}

/** Levenshtein's: letters to insert, delete or replace. Row by row; `left` is the cell before, `diagonal` the one above it. */
function distance(a: string, b: string): number {
  const row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    let diagonal = i - 1
    let left = i
    for (let j = 1; j <= b.length; j++) {
      const above = row[j] ?? 0
      row[j - 1] = left
      left = Math.min(above + 1, left + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1))
      diagonal = above
    }
    row[b.length] = left
  }
  return row[b.length] ?? 0
}
