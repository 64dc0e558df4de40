// Runs the SQL that docs/postgres.md shows, as an application beside a service on the same database.
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connect } from './store/by-sql.js'
import { freshFolder } from './support/folder.js'
import { postgresMissing, usePostgres } from './support/postgres.js'
import { launch } from './support/process.js'
import { startService } from './support/service.js'

const page = readFileSync(new URL('../docs/postgres.md', import.meta.url), 'utf8')
const section = String(page.split(/^## /m).find((text) => text.startsWith('Submitting inside')))
const [rights, ...statements] = [...section.matchAll(/^```sql\n(.*?)^```$/gms)].map(([, sql]) => String(sql))

test('docs/postgres.md shows configurations that are valid', async () => {
  const shown = [...page.matchAll(/^( *)```yaml\n(.*?)^ *```$/gms)]
  expect(shown.length).toBeGreaterThanOrEqual(3)
  for (const [, indent = '', yaml = ''] of shown) {
    const text = yaml.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    const { exit, errors } = launch(freshFolder({ 'config.yaml': text }), ['--check-config'])
    expect([(await exit).code, errors()]).toEqual([0, ''])
  }
})

describe.skipIf(postgresMissing !== null)(`docs/postgres.md (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()

  /** A service, and an application that has been given the rights of the page. */
  async function begin() {
    const admin = await connect(server.url())
    await admin.query('CREATE ROLE shop; CREATE SCHEMA shop AUTHORIZATION shop')
    onTestFinished(async () => {
      await admin.query('DROP SCHEMA IF EXISTS jobmill CASCADE; DROP SCHEMA shop CASCADE; DROP ROLE shop')
      await admin.end()
    })
    const master = { driver: 'postgres', source: server.url() }
    const service = await startService({ config: { data: { database: { master } }, worker: { poll: '100ms' } } })
    await admin.query(String(rights))
    const app = await connect(server.url())
    onTestFinished(() => app.end())
    await app.query('SET ROLE shop; SET search_path TO shop')
    return { ...service, app }
  }

  test('shows an order and its mail that come together, or not at all', async () => {
    const { app, ends, http, path } = await begin()
    for (const sql of statements) await app.query(sql)
    expect((await app.query('SELECT customer, total FROM orders')).rows).toEqual([
      { customer: 'ann@example.com', total: '49.90' },
    ])
    const { jobs } = (await http.get('/jobs').expect(200)).body
    expect(jobs).toMatchObject([
      { type: 'export', status: 'scheduled', priority: 5, tags: { report: 'daily' } },
      { type: 'email' },
    ])
    expect(await ends(jobs[1].id)).toMatchObject({ status: 'completed', attempt: 1, payload: { subject: 'Order 1' } })
    const [mail] = readdirSync(path('data/outbox')).filter((name) => name.endsWith('.eml'))
    expect(readFileSync(path(`data/outbox/${mail}`), 'utf8')).toContain('Thank you. The total is 49.90.')
  })

  test('says what becomes of a payload that does not fit its type: it fails at once, for good', async () => {
    const { app, ends } = await begin()
    const { rows } = await app.query(`SELECT jobmill.submit('email', '{"to": 5}') AS id`)
    const job = await ends(rows[0].id)
    expect(job).toMatchObject({ status: 'failed', attempt: 1, error: { code: 'payload_invalid', attempt: 1 } })
    expect(job.max_attempts).toBeGreaterThan(1)
    expect(job.error?.message).toMatch(/^the stored payload does not fit its type: \/to: /)
  })
})
