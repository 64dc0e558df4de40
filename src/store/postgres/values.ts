// Values on their way to PostgreSQL and back: a text each, arrays in one piece.
import pg from 'pg'

const INT8 = 20

/** Times and counts are far below 2^53. */
export function typeParser(oid: number, format: unknown) {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format === 'binary' ? 'binary' : 'text')
}

/** What does not stand as it is in an array; and NUL, which PostgreSQL's text does not have and nobody can be told. */
const ODD = /["\\\0]/

export function storable(value: unknown): unknown {
  if (typeof value === 'string') return value.includes('\0') ? value.replaceAll('\0', '\ufffd') : value
  return Array.isArray(value) ? `{${value.map(element)}}` : value
}

function element(value: string | number | boolean | null): string {
  if (typeof value !== 'string') return String(value ?? null)
  return `"${ODD.test(value) ? value.replace(/["\\]/g, '\\$&').replaceAll('\0', '\ufffd') : value}"`
}
