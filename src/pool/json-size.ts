// Whether a value is too large as JSON, found out without making the JSON: that alone may take more memory than there is.

/** Counts what JSON.stringify writes at the least, and stops as soon as it is more than `limit` characters. */
export function isLongerThan(value: unknown, limit: number): boolean {
  const seen = new WeakSet<object>()
  const waiting = [value]
  let length = 0
  while (waiting.length > 0 && length <= limit) {
    const next = waiting.pop()
    length += 1
    if (typeof next === 'string') length += next.length
    if (next === null || typeof next !== 'object' || seen.has(next)) continue
    seen.add(next)
    if (ArrayBuffer.isView(next)) length += next.byteLength
    // What stringify asks for its form says itself what it is.
    else if ('toJSON' in next) length += 1
    // A hole takes "null", an element and its comma two characters.
    else if (Array.isArray(next) && length + 2 * next.length > limit) return true
    else push(waiting, next)
  }
  return length > limit
}

/** Undefined and functions are left out of objects, and "null" in arrays. */
function push(waiting: unknown[], value: object): void {
  if (Array.isArray(value)) for (const inner of value) waiting.push(inner)
  else for (const [name, inner] of Object.entries(value)) if (isKept(inner)) waiting.push(name, inner)
}

const isKept = (value: unknown) => value !== undefined && typeof value !== 'function'
