// Finds what JSON would keep as something else: a Map becomes {}, NaN becomes null, and nobody is told.

/** Where the first such value is and what it is, or null. Undefined is left out of objects, as everywhere. */
export function changedByJson(value: unknown, name: string): string | null {
  const seen = new WeakSet<object>()
  const waiting: [unknown, string][] = [[value, name]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [inner, path] = next
    const what = changed(inner)
    if (what !== null) return `${path} is ${what}, which JSON cannot hold`
    if (inner === null || typeof inner !== 'object' || 'toJSON' in inner || seen.has(inner)) continue
    seen.add(inner)
    if (Array.isArray(inner)) for (const element of elements(inner, path)) waiting.push(element)
    else
      for (const [key, field] of Object.entries(inner))
        if (field !== undefined) waiting.push([field, `${path}.${key.slice(0, MAX_KEY)}`])
  }
  return null
}

/** Of a key, in what is told. */
const MAX_KEY = 100

/** Holes are undefined too. */
function* elements(list: unknown[], path: string): Generator<[unknown, string]> {
  for (let i = 0; i < list.length; i += 1) yield [list[i], `${path}[${i}]`]
}

function changed(value: unknown): string | null {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? null : String(value)
    case 'bigint':
      return 'a BigInt'
    case 'undefined':
    case 'function':
    case 'symbol':
      return typeof value
    case 'object':
      return value === null ? null : changedObject(value)
    default:
      return null
  }
}

/** A class's instance is kept as its fields; what says its own form is taken at its word, but for bytes. */
function changedObject(value: object): string | null {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : null
  if (ArrayBuffer.isView(value)) return value.constructor.name
  if ('toJSON' in value || Array.isArray(value)) return null
  const kind = Object.prototype.toString.call(value).slice('[object '.length, -1)
  return kind === 'Object' ? null : kind
}
