// How rows are written: CSV (RFC 4180), a JSON array, or a JSON object a line.
import type { Cell } from './selection.js'

export const FORMATS = ['csv', 'json', 'ndjson'] as const
export type FormatName = (typeof FORMATS)[number]

export interface Format {
  content_type: string
  head: string
  /** `first` is true for the first row of all. */
  row(cells: readonly Cell[], first: boolean): string
  tail: string
}

/** `guard` keeps spreadsheets from taking a text for a formula. */
export function formatOf(name: FormatName, columns: readonly string[], guard: boolean): Format {
  if (name === 'csv') return csv(columns, guard)
  const object = jsonObject(columns)
  if (name === 'ndjson') {
    return { content_type: 'application/x-ndjson', head: '', row: (cells) => `${object(cells)}\n`, tail: '' }
  }
  const row = (cells: readonly Cell[], first: boolean) => `${first ? '\n' : ',\n'}${object(cells)}`
  return { content_type: 'application/json', head: '[', row, tail: '\n]\n' }
}

function csv(columns: readonly string[], guard: boolean): Format {
  const field = (cell: Cell) => csvField(cell, guard)
  return {
    content_type: 'text/csv; charset=utf-8',
    head: `${columns.map(field).join(',')}\r\n`,
    row: (cells) => `${cells.map(field).join(',')}\r\n`,
    tail: '',
  }
}

/** What spreadsheets take for the beginning of a formula, also in its full-width form (OWASP, CSV injection). */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/
const NEEDS_QUOTES = /[",\r\n]/

/** NULL is an empty field, an empty text a quoted one. Bytes are base64. */
function csvField(cell: Cell, guard: boolean): string {
  if (cell === null) return ''
  if (typeof cell === 'string') return quoted(guard && FORMULA.test(cell) ? `'${cell}` : cell)
  if (cell instanceof Uint8Array) return base64(cell)
  return typeof cell === 'object' ? quoted(cell.raw) : String(cell)
}

function quoted(text: string): string {
  return text === '' || NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function jsonObject(columns: readonly string[]): (cells: readonly Cell[]) => string {
  const keys = columns.map((name) => JSON.stringify(name))
  return (cells) => `{${cells.map((cell, i) => `${keys[i]}:${jsonValue(cell)}`).join(',')}}`
}

/** Numbers that a double cannot hold are texts: most readers would round them. Bytes are base64. */
function jsonValue(cell: Cell): string {
  if (cell === null) return 'null'
  if (typeof cell === 'bigint') return isExact(cell) ? String(cell) : `"${cell}"`
  if (typeof cell === 'number') return Number.isFinite(cell) ? String(cell) : `"${cell}"`
  if (cell instanceof Uint8Array) return `"${base64(cell)}"`
  if (typeof cell !== 'object') return JSON.stringify(cell)
  if (cell.kind === 'json') return cell.raw.replace(LINE_BREAKS, ' ')
  return survives(cell.raw) ? cell.raw : JSON.stringify(cell.raw)
}

/** Between the tokens of a JSON text; inside its strings there are none. */
const LINE_BREAKS = /[\r\n]+/g

function isExact(value: bigint): boolean {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
}

/** Whether the number comes back from a double with the same digits, but for zeros at its end. */
function survives(digits: string): boolean {
  return String(Number(digits)) === digits.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '')
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
