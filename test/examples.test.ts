// Runs examples/: makes the shop's database, starts jobmill with its configuration, and does what its page says.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'csv-parse/sync'
import { expect, test } from 'vitest'
import { freshFolder } from './support/folder.js'
import { startProcess } from './support/process.js'
import type { JobBody } from './support/service.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

test('the shop: exports, an invoice with its mail, a dry run of a cleanup', async () => {
  const folder = freshFolder()
  cpSync(join(ROOT, 'examples'), join(folder, 'examples'), {
    recursive: true,
    filter: (path) => !/\.db|\/data$/.test(path),
  })
  for (const name of ['dist', 'node_modules']) symlinkSync(join(ROOT, name), join(folder, name))
  expect(execFileSync('node', ['examples/shop/create.mjs'], { cwd: folder, encoding: 'utf8' })).toMatch(
    /: 1200 orders\n$/,
  )
  const { url, call, reaches } = await startProcess(folder, { JOBMILL_CONFIG: 'examples/shop/config.yaml' })

  const page = readFileSync(join(ROOT, 'examples/README.md'), 'utf8')
  const jobs: JobBody[] = []
  for (const [, body] of page.matchAll(/^curl -X POST http:\/\/localhost:8080\/jobs -d '(.*)'$/gm)) {
    const { id } = (await call('POST', '/jobs', JSON.parse(String(body)))).body
    jobs.push(await reaches(id, 'completed', 'failed'))
  }
  const download = async (job: JobBody) => (await fetch(url + job.artifacts[0]?.url)).text()
  expect(jobs.map(({ type, status }) => [type, status])).toEqual([
    ['export', 'completed'],
    ['export', 'completed'],
    ['invoice', 'completed'],
    ['cleanup', 'completed'],
  ])

  const [exported, turnover, invoice, cleanup] = jobs as [JobBody, JobBody, JobBody, JobBody]
  const orders = parse(await download(exported), { columns: true }) as { ordered_at: string }[]
  expect(orders.length).toBe((exported.result as { rows: number }).rows)
  expect(orders.length).toBeGreaterThan(20)
  expect(orders.every(({ ordered_at }) => ordered_at.startsWith('2024-03'))).toBe(true)
  expect(JSON.parse(await download(turnover))).toHaveLength(35)
  expect(await download(invoice)).toContain('<h1>Invoice 17</h1>')
  const { mail } = invoice.result as { mail: string }
  expect(await reaches(mail, 'completed', 'failed')).toMatchObject({ type: 'email', status: 'completed' })
  expect(cleanup.result).toMatchObject({ dry_run: true, tables: [{ table: 'carts', deleted: expect.any(Number) }] })
})
