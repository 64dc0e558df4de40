// What POST /jobs is measured against: an Express server that parses JSON and sends it back, without a database.
import type { AddressInfo } from 'node:net'
import express from 'express'

const app = express()
app.disable('x-powered-by')
app.use(express.json())
app.post('/jobs', (req, res) => {
  res.status(202).json(req.body)
})
const server = app.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(`echo listens on http://127.0.0.1:${port}\n`)
})
