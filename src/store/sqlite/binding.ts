// The SQLite binding in the release that the running Node bears.
import { createRequire } from 'node:module'
import type BetterSqlite3 from 'better-sqlite3'
import { sqlitePackage } from '../../sqlite-package.js'

const require = createRequire(import.meta.url)

export const Database: typeof BetterSqlite3 = require(sqlitePackage())
