// The page of the API's description in a real browser: it shows the operations, and asks this server and no other.
import { describe, expect, test } from 'vitest'
import { newKey, sha256Of } from '../../src/api-key.js'
import { CHROMIUM, visit } from '../support/browser.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

describe.skipIf(CHROMIUM === undefined)('/docs (skipped without Chromium)', () => {
  test.each([
    ['wide', { width: 1_280, height: 800 }],
    ['narrow', { width: 390, height: 800 }],
  ])(
    'shows the operations without an error or a request to elsewhere: %s',
    async (_, viewport) => {
      const { url } = await startService()
      const { page, errors, foreign } = await visit(`${url}/docs`, [], viewport)
      await page.getByRole('heading', { name: 'jobmill', exact: true }).waitFor()
      await page.getByRole('heading', { name: 'Submit a job', exact: true }).waitFor()
      expect([errors, foreign]).toEqual([[], []])
    },
    60_000,
  )

  test('sends a request from the page', async () => {
    const { url, http } = await startService()
    const { page, errors, foreign } = await visit(`${url}/docs#tag/jobs/POST/jobs`)
    await page
      .getByRole('button', { name: /Test Request.*POST \/jobs\)?$/i })
      .first()
      .click()
    await page.getByRole('button', { name: /Send/ }).first().click()
    // The page names 202 before it was answered, too.
    const jobs = () => http.get('/jobs').then(({ body }) => body.jobs)
    await until('the job is there', async () => (await jobs()).length > 0)
    await page.getByText(/^202/).first().waitFor()
    expect(await jobs()).toHaveLength(1)
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
