// A connection to PostgreSQL that is made when it is needed, and thrown away as soon as anything about it is in doubt.
import pg from 'pg'
import { away, codeOf, isLost, messageOf } from './refusals.js'
import { storable, typeParser } from './values.js'

/** What the parts of the store ask of a connection. */
export interface Queries {
  /** The rows that `text` answers. */
  all<R>(text: string, values?: readonly unknown[]): Promise<R[]>
  /** The same, of each row its values alone: many columns take half the time so. */
  values<V extends unknown[]>(text: string, values: readonly unknown[]): Promise<V[]>
  /** How many rows `text` changed. */
  run(text: string, values?: readonly unknown[]): Promise<number>
  /**
   * Inside a transaction, without waiting for the answer: where it fails, so does the rest of the transaction. Throws where
   * a value cannot be sent.
   */
  send(text: string, values?: readonly unknown[]): void
}

export interface Connection extends Queries {
  /**
   * What is asked from now on is one transaction, and does not wait for the answers before it. Where its connection is
   * lost, all the rest of it is refused.
   */
  begin(): Promise<void>
  commit(): Promise<void>
  /** Where `work` throws, nothing that it did has happened, and the transaction goes on. */
  alone<T>(work: () => Promise<T>): Promise<T>
  /** Nothing that the transaction did has happened; where there is none, or it is over, nothing is asked. */
  rollback(): Promise<void>
  /** Whether it is connected; where it is not, it is opened meanwhile. */
  ready(): boolean
  /** Why the server does not answer, or null. */
  trouble(): string | null
  /** Ends what was opened, also what is still connecting; what is asked later is refused. */
  close(): Promise<void>
}

export interface Timeouts {
  connect: number
  /** A statement that takes longer is given up: the server may be hung, or the line cut. */
  statement: number
  /** The client gives up after the server should have: where the line is cut, nothing comes. */
  answer: number
  /** How long a statement waits for rows that others hold; left out: as long as it may take. */
  lock?: number
}

export interface ConnectionOptions {
  /** postgres://… */
  source: string
  /** In which the tables of jobmill are. */
  schema: string
  /** Who asks, for whoever looks at the server. */
  node: string
  /** Milliseconds. */
  timeouts?: Timeouts | undefined
  /** Whether a commit is on disk when it is answered. Left out: yes. */
  durable?: boolean
  /** What is listened to, and who is told of each notification. */
  channel?: string
  onHint?(text: string): void
  /** It listens from now on: what was sent before, while there was no connection, was not heard. */
  onListening?(): void
}

export const TIMEOUTS: Timeouts = { connect: 3_000, statement: 10_000, answer: 12_000 }
/** Who can do without a connection does not ask for it all the time. */
const REST_MS = 5_000
/** While the server cannot be reached, whoever asks is told at once that it was just now. */
const RETRY_MS = 500
/** What is idle is dropped by routers without a word. */
const KEEP_ALIVE_MS = 10_000
/** The server is told that a connection ends; it is cut where that is not heard. */
const END_MS = 500
/** A statement before it in the transaction has failed. */
const ABORTED = '25P02'

export function openConnection(options: ConnectionOptions): Connection {
  let client: Promise<pg.Client> | null = null
  let up: Promise<pg.Client> | null = null
  let trouble: string | null = null
  let failed_at = Number.NEGATIVE_INFINITY
  let inTransaction = false
  let closed = false
  /** What the transaction has failed for. */
  let failed: unknown = null
  /** Statements with parameters are parsed once, under a name that stands for their text. */
  const names = new Map<string, string>()
  const ending = new Set<Promise<void>>()
  /** Outside a transaction one question at a time: the next one waits for the answer, and its time counts from then. */
  let last: Promise<unknown> = Promise.resolve()

  function connected(): Promise<pg.Client> {
    if (client !== null) return client
    if (closed) throw away('this store is closed')
    // The rest of a transaction must not go to a connection that knows nothing of it.
    if (inTransaction || performance.now() - failed_at < RETRY_MS) throw away(trouble ?? 'it was not reached')
    const mine: Promise<pg.Client> = connect(options, (error) => drop(mine, error)).catch((error) => {
      failed_at = performance.now()
      drop(mine, error)
      throw away(error instanceof pg.DatabaseError ? `it refuses: ${error.message}` : messageOf(error))
    })
    client = mine
    mine.then(
      () => {
        up = mine
      },
      () => {},
    )
    return mine
  }

  /** The next one who asks gets a new one; whatever the old one still does does not come back to us. */
  function drop(old: Promise<pg.Client>, error: unknown): void {
    if (client !== old) return
    client = null
    trouble = messageOf(error)
    void end(old)
  }

  async function end(old: Promise<pg.Client>): Promise<void> {
    const ended = old.then(letGo).catch(() => {})
    ending.add(ended)
    await ended
    ending.delete(ended)
  }

  function named(text: string, values: readonly unknown[], rowMode?: 'array'): pg.QueryConfig {
    if (values.length === 0) return { text }
    const name = names.get(text) ?? `s${names.size}`
    names.set(text, name)
    return { name, text, values: values.map(storable), rowMode } as pg.QueryConfig
  }

  async function ask(question: pg.QueryConfig): Promise<pg.QueryResult> {
    const mine = connected()
    try {
      const there = await mine
      cork(there)
      const result = await there.query(question)
      if (client === mine) trouble = null
      return result
    } catch (error) {
      if (isLost(error)) drop(mine, error)
      if (codeOf(error) === ABORTED && failed !== null) throw failed
      failed ??= error
      throw error
    }
  }

  /** Throws, and nothing is asked, where a value cannot be sent: whoever does not wait for the answer has to know. */
  function query(text: string, values: readonly unknown[] = [], rowMode?: 'array'): Promise<pg.QueryResult> {
    const question = named(text, values, rowMode)
    if (inTransaction) return ask(question)
    const answer = last.then(() => ask(question))
    last = answer.catch(() => {})
    return answer
  }

  function send(text: string, values?: readonly unknown[]): void {
    query(text, values).catch(() => {})
  }

  return {
    all: async <R>(text: string, values?: readonly unknown[]) => (await query(text, values)).rows as R[],
    values: async <V extends unknown[]>(text: string, values: readonly unknown[]) =>
      (await query(text, values, 'array')).rows as V[],
    run: async (text, values) => (await query(text, values)).rowCount ?? 0,
    send,
    async begin() {
      inTransaction = false
      await last
      failed = null
      ask({ text: 'BEGIN' }).catch(() => {})
      inTransaction = true
    },
    async commit() {
      const { command } = await query('COMMIT')
      inTransaction = false
      // The server answers so, and no error, where a statement before had failed.
      if (command !== 'COMMIT') throw failed ?? new Error('the transaction was not committed')
    },
    async rollback() {
      const mine = client
      if (inTransaction && mine !== null) await query('ROLLBACK').catch((error) => drop(mine, error))
      inTransaction = false
    },
    async alone(work) {
      send('SAVEPOINT alone')
      try {
        const value = await work()
        await query('RELEASE alone')
        return value
      } catch (error) {
        if (!isLost(error)) await query('ROLLBACK TO alone')
        failed = null
        throw error
      }
    },
    ready() {
      if (client === null && !closed && performance.now() - failed_at >= REST_MS) connected().catch(() => {})
      return client !== null && client === up
    },
    trouble: () => trouble,
    async close() {
      closed = true
      const mine = client
      client = null
      if (mine !== null) void end(mine)
      await Promise.all(ending)
    },
  }
}

async function connect(options: ConnectionOptions, onLost: (error: Error) => void): Promise<pg.Client> {
  const { source, schema, node, timeouts = TIMEOUTS, durable = true, channel } = options
  const client = new pg.Client({
    connectionString: source,
    application_name: `jobmill ${node}`,
    connectionTimeoutMillis: timeouts.connect,
    query_timeout: timeouts.answer,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    pipeline: true,
    types: { getTypeParser: typeParser },
  })
  // Told between two queries; without a listener it would end the process.
  client.on('error', onLost)
  client.on('notification', ({ payload = '' }) => options.onHint?.(payload))
  try {
    await client.connect()
    await client.query(SESSION, [
      quoted(schema),
      durable ? 'on' : 'off',
      `${timeouts.statement}ms`,
      `${timeouts.lock ?? 0}ms`,
    ])
    if (channel !== undefined) await client.query(`LISTEN ${quoted(channel)}`)
  } catch (error) {
    void letGo(client)
    throw error
  }
  options.onListening?.()
  return client
}

/**
 * A durable commit is on disk when it is answered, whatever the server's configuration says otherwise. Every statement
 * finds its rows by an index, row by row: what the server knows of tables that fill and empty all day is out of date, and
 * would mislead it to read them whole. A node that hangs in the middle of a transaction, or is cut off, keeps its locks no
 * longer than a statement may take. (Not as parameters of the start: poolers refuse or drop them.)
 */
const SESSION = `SELECT set_config('search_path', $1, false), set_config('synchronous_commit', $2, false),
  set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
  set_config('enable_mergejoin', 'off', false), set_config('enable_material', 'off', false),
  set_config('enable_bitmapscan', 'off', false), set_config('enable_sort', 'off', false),
  set_config('jit', 'off', false), set_config('plan_cache_mode', 'force_generic_plan', false),
  set_config('statement_timeout', $3, false), set_config('lock_timeout', $4, false),
  set_config('idle_in_transaction_session_timeout', $3, false)`

/** What is asked before the event loop turns goes out in one piece. */
function cork({ connection: { stream } }: pg.Client): void {
  stream.cork()
  process.nextTick(() => stream.uncork())
}

/** Resolves when its socket is closed. */
async function letGo(client: pg.Client): Promise<void> {
  const cut = setTimeout(() => client.connection.stream.destroy(), END_MS)
  await client.end().catch(() => {})
  clearTimeout(cut)
}

/** As an identifier, for search_path as well as for statements. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
