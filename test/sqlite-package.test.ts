// Which SQLite binding runs where: the wrong one crashes the process, at once or at a garbage collection.
import { expect, test } from 'vitest'
import { sqlitePackage } from '../src/sqlite-package.js'

test.each([
  ['20.19.0', 'better-sqlite3'],
  ['22.13.1', 'better-sqlite3'],
  ['22.14.0', 'better-sqlite3-13'],
  ['24.0.0', 'better-sqlite3-13'],
  ['26.1.0', 'better-sqlite3-13'],
])('Node %s gets %s', (version, binding) => {
  expect(sqlitePackage(version)).toBe(binding)
})
