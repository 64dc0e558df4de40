// Old rows of a table in PostgreSQL.
import pg from 'pg'
import { NonRetryableError } from '../../src/define-job.js'
import { BATCH_ROWS, type OldRows, type Wanted } from './rows.js'

const CONNECT_LIMIT_MS = 10_000
const STATEMENT_LIMIT_MS = 60_000
/** A little later than the server's own: a connection that has died answers nothing at all. */
const ANSWER_LIMIT_MS = 65_000

/** @throws NonRetryableError where there is no such table or column, or the column holds no dates */
export async function openPostgresTable(url: string, wanted: Wanted): Promise<OldRows> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'jobmill cleanup',
    connectionTimeoutMillis: CONNECT_LIMIT_MS,
    statement_timeout: STATEMENT_LIMIT_MS,
    query_timeout: ANSWER_LIMIT_MS,
    keepAlive: true,
  })
  // A connection that is lost between two queries: the next one says so.
  client.on('error', () => {})
  const close = () => client.end().catch(() => {})
  const explained = async <T>(act: () => Promise<T>): Promise<T> => {
    try {
      return await act()
    } catch (error) {
      throw error instanceof NonRetryableError ? error : explain(error, url, wanted)
    }
  }
  try {
    await explained(() => client.connect())
    const { count, deleteBatch } = await explained(() => oldRows(client, wanted))
    return { count: () => explained(count), deleteBatch: () => explained(deleteBatch), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** The password stands in the URL, and nowhere else: not in what a driver or server says. */
function explain(error: unknown, url: string, { table }: Wanted): Error {
  const { message, code } = Object(error)
  const { password } = new URL(url)
  const secrets = [password, decodeURIComponent(password)].filter((secret) => secret !== '')
  const text = secrets.reduce((text, secret) => text.replaceAll(secret, '***'), String(message || code))
  return new Error(`table "${table}": ${text}`)
}

async function oldRows(client: pg.Client, wanted: Wanted): Promise<Omit<OldRows, 'close'>> {
  const { tables, column, type } = await lookUp(client, wanted)
  // Dates and times without a zone are read as UTC, a date as its midnight.
  const bound = type === 'timestamptz' ? '$1::timestamptz' : `($1::timestamptz AT TIME ZONE 'UTC')`
  const old = `${column} < ${bound} AND isfinite(${column})`
  const before = [new Date(wanted.before).toISOString()]
  return {
    async count() {
      if (tables.length === 0) return 0
      const counts = tables.map((table) => `(SELECT count(*) FROM ONLY ${table} WHERE ${old})`)
      const { rows } = await client.query<{ n: string }>(`SELECT ${counts.join(' + ')} AS n`, before)
      return Number(rows[0]?.n)
    },
    async deleteBatch() {
      for (const table of tables) {
        const batch = `SELECT ctid FROM ONLY ${table} WHERE ${old} LIMIT ${BATCH_ROWS} FOR UPDATE SKIP LOCKED`
        const { rowCount } = await client.query(`DELETE FROM ONLY ${table} WHERE ctid = ANY(ARRAY(${batch}))`, before)
        if (rowCount !== null && rowCount > 0) return rowCount
      }
      return 0
    },
  }
}

/**
 * Name of the table ("events" or "app.events", as it stands in the catalogue), quoted, and of its partitions and
 * heirs: a row's place (ctid) tells it apart only within one of them.
 */
const LOOK_UP = `
  WITH RECURSIVE family(oid) AS (
    (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
       AND ((c.relname = $1 AND pg_table_is_visible(c.oid)) OR n.nspname || '.' || c.relname = $1)
     ORDER BY n.nspname || '.' || c.relname = $1 LIMIT 1)
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent
  )
  SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'r' AS stores, quote_ident(a.attname) AS "column",
    t.typname AS type
  FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_type t ON t.oid = a.atttypid
  WHERE c.relkind IN ('r', 'p')`

interface Found {
  name: string
  /** False where all its rows are in partitions. */
  stores: boolean
  column: string | null
  type: string | null
}

async function lookUp(client: pg.Client, { table, date_column }: Wanted) {
  const { rows } = await client.query<Found>(LOOK_UP, [table, date_column])
  const { column, type } = rows[0] ?? {}
  if (column === undefined) throw new NonRetryableError(`table "${table}": there is no such table in its database`)
  if (column === null) throw new NonRetryableError(`table "${table}": has no column "${date_column}"`)
  if (!['date', 'timestamp', 'timestamptz'].includes(type ?? ''))
    throw new NonRetryableError(`table "${table}": column "${date_column}" must be a date, timestamp or timestamptz`)
  return { tables: rows.filter(({ stores }) => stores).map(({ name }) => name), column, type }
}
