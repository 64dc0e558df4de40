// The SQLite binding in the release that the running Node bears: no one release of it bears them all.
import { createRequire } from 'node:module'
import type BetterSqlite3 from 'better-sqlite3'

/**
 * better-sqlite3 12 aborts the process on Node ≥ 24.19 when a closed connection or statement is garbage-collected
 * (`node::ObjectWrap` changed under it); 13 crashes on Node < 22.14.
 */
export function bindingFor(nodeVersion: string): 'better-sqlite3' | 'better-sqlite3-13' {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 14) ? 'better-sqlite3-13' : 'better-sqlite3'
}

const require = createRequire(import.meta.url)

export const Database: typeof BetterSqlite3 = require(bindingFor(process.versions.node))
