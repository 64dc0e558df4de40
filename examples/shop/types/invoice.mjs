// Writes the invoice of one order as a page that can be printed, and mails that it is there.
import { createRequire } from 'node:module'
import { NonRetryableError, sqlitePackage } from '../../../dist/src/define-job.js'

const Database = createRequire(import.meta.url)(sqlitePackage())

export default {
  description: 'Invoice of an order: { "order": 17 }',
  timeout: '30s',
  async run({ order: id }, ctx) {
    const order = read(ctx.resolve('shop.db'), id)
    if (order === undefined) throw new NonRetryableError(`there is no order ${id}`)
    const { name, email, total, ordered_at } = order
    ctx.artifact(`invoice-${id}.html`).end(`<!doctype html>
<title>Invoice ${id}</title>
<h1>Invoice ${id}</h1>
<p>${name}, ordered ${ordered_at.slice(0, 10)}</p>
<p><b>${total.toFixed(2)} EUR</b></p>
`)
    const subject = `Your invoice ${id}`
    const mail = await ctx.submit({ type: 'email', payload: { to: email, subject, body: `${name}, it is ready.` } })
    return { total, mail: mail.id }
  },
}

function read(file, id) {
  const db = new Database(file, { readonly: true })
  try {
    const sql = 'SELECT * FROM orders JOIN customers ON customers.id = customer_id WHERE orders.id = ?'
    return db.prepare(sql).all(id)[0]
  } finally {
    db.close()
  }
}
