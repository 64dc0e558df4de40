// Whether sessions of the server stay with their connections: between them may stand a pooler that hands them round.
import pg from 'pg'
import { StoreOpenError } from '../open-error.js'

/** Has no settings yet, which would stay with a session that is somebody else's. */
async function connect(connectionString: string, patience: number): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString,
    application_name: 'jobmill',
    connectionTimeoutMillis: patience,
    query_timeout: patience,
  })
  // What breaks is told to who asks.
  client.on('error', () => {})
  await client.connect()
  return client
}

const sessionOf = async (client: pg.Client): Promise<number> =>
  (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid

/**
 * Where sessions are handed round after each transaction, one that is idle is given to who begins the next. `patience`:
 * milliseconds that a connection may take, and an answer.
 *
 * @throws StoreOpenError where they are
 */
export async function refuseSharedSessions(source: string, patience: number): Promise<void> {
  const clients: pg.Client[] = []
  try {
    const one = await connect(source, patience)
    clients.push(one)
    const other = await connect(source, patience)
    clients.push(other)
    const before = await sessionOf(one)
    await other.query('BEGIN')
    await sessionOf(other)
    if ((await sessionOf(one)) === before) return
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})))
  }
  throw new StoreOpenError(
    'a connection pooler hands sessions of the server round, and jobmill needs its own: settings of a session, prepared ' +
      'statements and LISTEN. Use the session mode of PgBouncer, or connect to the server itself',
  )
}
