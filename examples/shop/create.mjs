// Makes the shop's database, shop.db, from shop.sql; an older one is replaced. Run `npm run build` before.
import { readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { sqlitePackage } from '../../dist/src/sqlite-package.js'

const Database = createRequire(import.meta.url)(sqlitePackage())
const file = process.argv[2] ?? fileURLToPath(new URL('shop.db', import.meta.url))

rmSync(file, { force: true })
const db = new Database(file)
db.exec(readFileSync(new URL('shop.sql', import.meta.url), 'utf8'))
const [{ orders }] = db.prepare('SELECT count(*) AS orders FROM orders').all()
db.close()
process.stdout.write(`${file}: ${orders} orders\n`)
