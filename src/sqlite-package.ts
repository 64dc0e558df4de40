// Which SQLite package the running Node bears: no one release of better-sqlite3 bears them all.

/**
 * better-sqlite3 12 aborts the process on Node ≥ 24.19 when a closed connection or statement is garbage-collected
 * (`node::ObjectWrap` changed under it); 13 crashes on Node < 22.14. For `createRequire(import.meta.url)(…)`.
 */
export function sqlitePackage(nodeVersion = process.versions.node): 'better-sqlite3' | 'better-sqlite3-13' {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 14) ? 'better-sqlite3-13' : 'better-sqlite3'
}
