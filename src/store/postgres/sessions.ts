// Whether sessions of the server stay with their connections: between them may stand a pooler that hands them round.
import { StoreOpenError } from '../open-error.js'
import type { Connection } from './connection.js'

const PID = 'SELECT pg_backend_pid() AS pid'

/**
 * Where sessions are handed round after each transaction, one that is idle is given to who begins the next.
 *
 * @throws StoreOpenError where they are
 */
export async function refuseSharedSessions(one: Connection, other: Connection): Promise<void> {
  const before = await one.all(PID)
  await other.begin()
  await other.all(PID)
  const after = await one.all(PID)
  await other.rollback()
  if (JSON.stringify(after) === JSON.stringify(before)) return
  throw new StoreOpenError(
    'a connection pooler hands sessions of the server round, and jobmill needs its own: settings of a session, prepared ' +
      'statements and LISTEN. Use the session mode of PgBouncer, or connect to the server itself',
  )
}
