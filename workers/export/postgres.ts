// Rows of a PostgreSQL table or query: a cursor in a read-only transaction, so that any number takes the same memory.
import pg from 'pg'
import { NonRetryableError } from '../../src/define-job.js'
import { type Cell, chosenColumns, type Rows, type Selection, spanOf } from './selection.js'
import type { SqlSource } from './source.js'

const BATCH = 500
const CONNECT_LIMIT_MS = 10_000
/** Values come as text and are read here: pg's own parsers round large integers and lose fractions of milliseconds. */
const TEXT = { getTypeParser: () => (text: string) => text }
const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  json: 114,
  float4: 700,
  float8: 701,
  date: 1082,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  jsonb: 3802,
}
const SMALL_INTEGERS = [21, 23, 26]
const TEXT_ARRAY = 1009
/** Reads an array of any type into its elements' texts. pg names only some of the types that it knows. */
const parseArray = (pg.types.getTypeParser as (oid: number) => (text: string) => unknown[])(TEXT_ARRAY)

interface Column {
  name: string
  oid: number
  /** Of its elements, where it is an array. */
  element: number | null
}

/** Counts and reads in one snapshot. The connection is cut when `signal` fires, which ends what the server does. */
export async function openPostgresRows(source: SqlSource, selection: Selection, signal: AbortSignal): Promise<Rows> {
  const client = await connect(source.source)
  const cut = () => client.connection.stream.destroy()
  signal.addEventListener('abort', cut, { once: true })
  const close = async () => {
    signal.removeEventListener('abort', cut)
    await client.end().catch(() => {})
  }
  try {
    await client.query(
      "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL bytea_output = 'hex'",
    )
    const from = relation(source)
    const existing = await columnsOf(client, from)
    const names = chosenColumns(
      existing.map(({ name }) => name),
      selection,
    )
    const columns = names.map((name) => existing.find((column) => column.name === name) as Column)
    const { where, values } = condition(selection, existing, source.date_column)
    const [{ count } = { count: '0' }] = (await client.query(`SELECT count(*) AS count FROM ${from}${where}`, values))
      .rows
    await client.query(`DECLARE exported NO SCROLL CURSOR FOR SELECT ${names.map(quote)} FROM ${from}${where}`, values)
    return { columns: names, count: Number(count), batches: batches(client, columns, signal), close }
  } catch (error) {
    await close()
    throw explained(error)
  }
}

/** pg's Client, with the socket that it does not show in its types. */
type Client = pg.Client & { connection: { stream: { destroy(): void } } }

async function connect(connectionString: string): Promise<Client> {
  try {
    // Reads files that the URL names, such as certificates; what it throws may name them, or the URL.
    const limits = { connectionTimeoutMillis: CONNECT_LIMIT_MS, application_name: 'jobmill export' }
    const client = new pg.Client({ connectionString, types: TEXT, ...limits }) as Client
    // A lost connection fails the query that waits; told twice it would end the thread.
    client.on('error', () => {})
    await client.connect()
    return client
  } catch (error) {
    throw new Error(`the PostgreSQL server of the source cannot be reached (${codeOf(error)})`)
  }
}

function relation({ table, query }: SqlSource): string {
  if (query !== undefined) return `(${query.replace(/;\s*$/, '')}\n) AS query`
  return String(table).split('.').map(quote).join('.')
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

async function columnsOf(client: Client, from: string): Promise<Column[]> {
  const { fields } = await client.query(`SELECT * FROM ${from} LIMIT 0`)
  const types = await client.query("SELECT oid, typelem FROM pg_type WHERE typcategory = 'A' AND oid = ANY($1)", [
    fields.map(({ dataTypeID }) => dataTypeID),
  ])
  const elements = new Map<number, number>(types.rows.map(({ oid, typelem }) => [Number(oid), Number(typelem)]))
  return fields.map(({ name, dataTypeID: oid }) => ({ name, oid, element: elements.get(oid) ?? null }))
}

function condition({ equal, date }: Selection, existing: Column[], date_column: string | undefined) {
  const values: unknown[] = []
  const bound = (value: unknown) => `$${values.push(value)}`
  // As texts, so that a value of another kind finds nothing instead of failing.
  const terms = Object.entries(equal).map(([column, value]) =>
    value === null ? `${quote(column)} IS NULL` : `${quote(column)}::text = ${bound(String(value))}`,
  )
  if (date !== null && date_column !== undefined) {
    const column = existing.find(({ name }) => name === date_column)
    if (column === undefined)
      throw new NonRetryableError(`the source is not set up right: it has no column "${date_column}"`)
    terms.push(dateCondition(column, date, bound))
  }
  return { where: terms.length === 0 ? '' : ` WHERE ${terms.join(' AND ')}`, values }
}

/** A range in UTC, so that an index on the column serves it; of texts, those that begin so. */
function dateCondition({ name, oid }: Column, prefix: string, bound: (value: unknown) => string): string {
  const { from, to } = spanOf(prefix)
  const type = { [OID.date]: 'date', [OID.timestamp]: 'timestamp', [OID.timestamptz]: 'timestamptz' }[oid]
  if (type === undefined) return `starts_with(${quote(name)}::text, ${bound(prefix)})`
  const moment = (ms: number) => `${bound(new Date(ms).toISOString())}::timestamptz AT TIME ZONE 'UTC'`
  if (type === 'timestamptz')
    return `${quote(name)} >= (${moment(from)}) AT TIME ZONE 'UTC' AND ${quote(name)} < (${moment(to)}) AT TIME ZONE 'UTC'`
  return `${quote(name)} >= ${moment(from)} AND ${quote(name)} < ${moment(to)}`
}

async function* batches(client: Client, columns: Column[], signal: AbortSignal): AsyncGenerator<Cell[][]> {
  for (;;) {
    signal.throwIfAborted()
    const { rows } = await client.query<(string | null)[]>({ text: `FETCH ${BATCH} FROM exported`, rowMode: 'array' })
    if (rows.length === 0) return
    yield rows.map((row) => columns.map((column, i) => cellOf(row[i] ?? null, column)))
  }
}

function cellOf(text: string | null, { oid, element }: Omit<Column, 'name'>): Cell {
  if (text === null) return null
  if (element !== null) return { raw: JSON.stringify(plain(parseArray(text), element)), kind: 'json' }
  if (SMALL_INTEGERS.includes(oid)) return Number(text)
  switch (oid) {
    case OID.bool:
      return text === 't'
    case OID.int8:
      return BigInt(text)
    case OID.float4:
    case OID.float8:
      return Number(text)
    case OID.numeric:
      return /^-?[\d.]+$/.test(text) ? { raw: text, kind: 'number' } : text
    case OID.bytea:
      return Buffer.from(text.slice(2), 'hex')
    case OID.json:
    case OID.jsonb:
      return { raw: text, kind: 'json' }
    case OID.timestamp:
      return text.replace(' ', 'T')
    case OID.timestamptz:
      return text.replace(' ', 'T').replace(/\+00$/, 'Z')
    default:
      return text
  }
}

/** The elements of an array as JSON has them: numbers where a double holds them, texts otherwise. */
function plain(value: unknown, element: number): unknown {
  if (Array.isArray(value)) return value.map((inner) => plain(inner, element))
  if (typeof value !== 'string') return value
  const cell = cellOf(value, { oid: element, element: null })
  if (typeof cell === 'bigint') return Number.isSafeInteger(Number(cell)) ? Number(cell) : String(cell)
  return typeof cell === 'number' || typeof cell === 'boolean' ? cell : value
}

/** A mistake in the configuration stays one at the next attempt; a server that is away may be back. */
function explained(error: unknown): unknown {
  const code = codeOf(error)
  if (!(error instanceof Error) || !/^(42|22|25)/.test(code)) return error
  return new NonRetryableError(`the source is not set up right: ${error.message}`)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
}
