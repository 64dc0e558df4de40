// A web server of one's own, with one page: node examples/htmx/server.mjs [port] [address of jobmill]
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'

const [port = '3000', jobmill = 'http://localhost:8080'] = process.argv.slice(2)
const files = {
  '/page.css': ['text/css', new URL('page.css', import.meta.url)],
  '/page.js': ['text/javascript', new URL('page.js', import.meta.url)],
  '/htmx.js': ['text/javascript', new URL(import.meta.resolve('htmx.org/dist/htmx.min.js'))],
}

const server = createServer(async (req, res) => {
  if (req.url === '/') {
    const page = await readFile(new URL('index.html', import.meta.url), 'utf8')
    res.setHeader('Content-Type', 'text/html; charset=utf-8')
    return res.end(page.replaceAll('JOBMILL', jobmill))
  }
  const [type, file] = files[req.url] ?? []
  if (file === undefined) {
    res.statusCode = 404
    return res.end()
  }
  res.setHeader('Content-Type', type)
  createReadStream(fileURLToPath(file)).pipe(res)
})

server.listen(Number(port), 'localhost', () => {
  console.log(`the page is at http://localhost:${server.address().port}`)
})
