// The page of the API's description in a real browser: it shows the operations, and asks this server and no other.
import { describe, expect, test } from 'vitest'
import { newKey, sha256Of } from '../../src/api-key.js'
import { CHROMIUM, visit } from '../support/browser.js'
import { startService } from '../support/service.js'

describe.skipIf(CHROMIUM === undefined)('/docs (skipped without Chromium)', () => {
  test('shows the operations without an error or a request to elsewhere, and sends a request from the page', async () => {
    const { url, http } = await startService()
    const { page, errors, foreign } = await visit(`${url}/docs#tag/jobs/POST/jobs`)
    await page.getByRole('heading', { name: 'jobmill', exact: true }).waitFor()
    await page.getByRole('heading', { name: 'Submit a job', exact: true }).waitFor()
    await page
      .getByRole('button', { name: /Test Request.*POST \/jobs\)?$/i })
      .first()
      .click()
    await page.getByRole('button', { name: /Send/ }).first().click()
    await page.getByText(/^202/).first().waitFor()
    expect((await http.get('/jobs')).body.jobs).toHaveLength(1)
    expect([errors, foreign]).toEqual([[], []])
  }, 60_000)

  test('shows them on a narrow screen too', async () => {
    const { url } = await startService()
    const { page, errors, foreign } = await visit(`${url}/docs`, [], { width: 390, height: 800 })
    await page.getByRole('heading', { name: 'jobmill', exact: true }).waitFor()
    await page.getByRole('heading', { name: 'Submit a job', exact: true }).waitFor()
    expect([errors, foreign]).toEqual([[], []])
  }, 60_000)

  test('leads to the sign-in where there are keys', async () => {
    const key = newKey()
    const { url } = await startService({
      config: { auth: { keys: [{ name: 'person', sha256: sha256Of(key), scopes: ['jobs:read'] }] } },
    })
    const { page, foreign } = await visit(`${url}/docs`)
    await page.getByLabel('API key').fill(key)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${url}/docs`)
    await page.getByRole('heading', { name: 'Submit a job', exact: true }).waitFor()
    expect(foreign).toEqual([])
  }, 60_000)
})
