// A connection to PostgreSQL that is made when it is needed, and thrown away as soon as anything about it is in doubt.
import pg from 'pg'
import { ServiceError } from '../../errors.js'

/** What the parts of the store ask of a connection. */
export interface Queries {
  /** The rows that `text` answers. */
  all<R>(text: string, values?: readonly unknown[]): Promise<R[]>
  /** How many rows `text` changed. */
  run(text: string, values?: readonly unknown[]): Promise<number>
}

export interface Connection extends Queries {
  /** Throws it away: nothing that was asked of it has happened, unless it was committed. */
  destroy(): void
  /** Why the server does not answer, or null. */
  trouble(): string | null
  close(): Promise<void>
}

export interface ConnectionOptions {
  /** postgres://… */
  source: string
  /** In which the tables of jobmill are. */
  schema: string
}

const CONNECT_MS = 3_000
/** A statement that takes longer is given up: the server may be hung, or the line cut. */
const STATEMENT_MS = 10_000
/** The client gives up after the server should have: where the line is cut, nothing comes. */
const ANSWER_MS = 12_000
/** While the server is away, whoever asks is told at once that it was just now. */
const RETRY_MS = 500
const INT8 = 20

export function openConnection({ source, schema }: ConnectionOptions): Connection {
  let client: Promise<pg.Client> | null = null
  let trouble: string | null = null
  let failed_at = Number.NEGATIVE_INFINITY

  function connected(): Promise<pg.Client> {
    if (client !== null) return client
    if (performance.now() - failed_at < RETRY_MS) throw away(trouble ?? 'it was not reached')
    client = connect(source, schema, drop)
    client.catch(drop)
    return client
  }

  /** The next one who asks gets a new one. */
  function drop(error: unknown): void {
    const gone = client
    client = null
    trouble = messageOf(error)
    failed_at = performance.now()
    // Whatever it still does must not come back to us.
    void gone?.then((old) => old.end().catch(() => {})).catch(() => {})
  }

  async function query(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    try {
      const result = await (await connected()).query(text, values.map(storable))
      trouble = null
      return result
    } catch (error) {
      if (isLost(error)) drop(error)
      throw error
    }
  }

  return {
    all: async <R>(text: string, values: readonly unknown[] = []) => (await query(text, values)).rows as R[],
    run: async (text, values = []) => (await query(text, values)).rowCount ?? 0,
    destroy: () => drop(new Error('it was given up')),
    trouble: () => trouble,
    async close() {
      const last = client
      client = null
      await last?.then((open) => open.end()).catch(() => {})
    },
  }
}

async function connect(source: string, schema: string, onLost: (error: Error) => void): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: source,
    application_name: 'jobmill',
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    query_timeout: ANSWER_MS,
    keepAlive: true,
    types: { getTypeParser: typeParser },
  })
  // Told between two queries; without a listener it would end the process.
  client.on('error', onLost)
  await client.connect()
  // A commit is on disk when it is answered, whatever the server's configuration says otherwise.
  await client.query(`SELECT set_config('search_path', $1, false), set_config('synchronous_commit', 'on', false)`, [
    quoted(schema),
  ])
  return client
}

/** Times and counts are far below 2^53. */
function typeParser(oid: number, format: unknown) {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format === 'binary' ? 'binary' : 'text')
}

/** PostgreSQL's text has no NUL; what it stood for cannot be told anyway. */
function storable(value: unknown): unknown {
  if (typeof value === 'string') return value.includes('\0') ? value.replaceAll('\0', '\ufffd') : value
  return Array.isArray(value) ? value.map(storable) : value
}

/** As an identifier, for search_path as well as for statements. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

function messageOf(error: unknown): string {
  const { message, code } = Object(error)
  return String(message || code || error)
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** The connection cannot be used any more: it broke, the server ended it, or an answer is overdue. */
export function isLost(error: unknown): boolean {
  if (error instanceof ServiceError) return false
  if (error instanceof pg.DatabaseError) return /^(08|57P)/.test(codeOf(error))
  return (
    error instanceof Error && (codeOf(error) !== '' || /terminated|timeout|closed|not queryable/i.test(error.message))
  )
}

export function away(why: string): ServiceError {
  return new ServiceError('store_busy', `the database is away (${why})`)
}
