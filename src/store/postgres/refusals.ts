// What an error of PostgreSQL means: whether its connection is lost, who is at fault, and what callers are told.
import pg from 'pg'
import { ServiceError } from '../../errors.js'

export function messageOf(error: unknown): string {
  const { message, code } = Object(error)
  return String(message || code || error)
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** The connection cannot be used any more: it broke, the server ended it or only reads, or an answer is overdue. */
export function isLost(error: unknown): boolean {
  if (error instanceof ServiceError) return false
  if (error instanceof pg.DatabaseError) return /^(08|57P|25P0[34]|25006)/.test(codeOf(error))
  return (
    error instanceof Error && (codeOf(error) !== '' || /terminated|timeout|closed|not queryable/i.test(error.message))
  )
}

export function away(why: string): ServiceError {
  return new ServiceError('store_busy', `the database is away (${why})`)
}

/** Two nodes, or lanes, that wait for each other's rows: one is told, and tries again. */
const CONFLICTS = ['40001', '40P01', '55P03']
export const isConflict = (error: unknown) => CONFLICTS.includes(codeOf(error))

const READ_ONLY = '25006'

/** The server has refused a statement, if only because it takes no writes, and reads on. */
export const isRefusal = (error: unknown) =>
  error instanceof pg.DatabaseError && (!isLost(error) || codeOf(error) === READ_ONLY)

/** What is wrong with one write and no other: a value that does not fit (class 22), a rule of a table (23), or our own code. */
export function isOwnFault(error: unknown): boolean {
  if (error instanceof ServiceError || isLost(error)) return false
  return !(error instanceof pg.DatabaseError) || /^(22|23|54)/.test(codeOf(error))
}

/** `committing`: nobody knows whether it has been committed. Others stay what they are: a fault of what was asked, or of our own. */
export function asServiceError(error: unknown, committing: boolean): unknown {
  if (error instanceof ServiceError) return error
  const code = codeOf(error)
  if (/^53(000|100|200)$/.test(code)) return new ServiceError('storage_full', 'the database has no space left')
  if (committing && isLost(error))
    return new ServiceError('outcome_unknown', 'the connection broke while the database was committing')
  if (isLost(error)) return away(error instanceof Error ? error.message : String(error))
  if (isConflict(error) || code === '57014')
    return new ServiceError('store_busy', `the database did not get to it in time (${code}: ${messageOf(error)})`)
  // What the server refuses for a reason of its own, such as a right that is missing, it takes when that is over.
  if (error instanceof pg.DatabaseError && !isOwnFault(error))
    return new ServiceError('store_busy', `the database refuses it (${code}: ${error.message})`)
  return error
}

/** What the database does not take or give now is told as its writes tell it. */
export async function reach<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking
  } catch (error) {
    throw asServiceError(error, false)
  }
}
