// The pages in a real browser: they keep up, their buttons work, nothing is asked of other sites, and axe finds nothing serious.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'
import { CHROMIUM, type Visit, visit } from '../support/browser.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const WIDE = { width: 1_280, height: 800 }
const NARROW = { width: 390, height: 800 }

/** Violations of WCAG that axe calls serious or critical, of all rules or of those about colours. */
async function seriousIssues({ page }: Visit, rules: 'all' | 'colours' = 'all'): Promise<string[]> {
  const runOnly =
    rules === 'colours' ? { runOnly: { type: 'rule', values: ['color-contrast', 'link-in-text-block'] } } : {}
  const { violations } = (await page.evaluate(
    `axe.run(${JSON.stringify({ resultTypes: ['violations'], ...runOnly })})`,
  )) as { violations: { id: string; impact: string; nodes: { html: string }[] }[] }
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
  return serious.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)
}

const isTooWide = ({ page }: Visit) => page.evaluate('document.documentElement.scrollWidth > innerWidth')

const others = [
  ...['/ui/submit', '/ui/submit/email', '/ui/submit/greet', '/ui/jobs/all?verb=cancel', '/ui/types', '/ui/types/email'],
  ...[
    '/ui/schedules',
    '/ui/schedules/system.retention',
    '/ui/digests',
    '/ui/digests/daily',
    '/ui/workers',
    '/ui/nodes',
  ],
]

describe.skipIf(CHROMIUM === undefined)('the pages (skipped without Chromium)', () => {
  test('follow a job: its bar moves, an endless one is cancelled, a failed one runs again', async () => {
    const { url, submit, reaches } = await startService({
      types: ['hash', 'throws'],
      config: { worker: { max_workers: 2 } },
    })
    const hashing = await submit({ type: 'hash', payload: { rounds: 3_000 } })
    const bar = await visit(`${url}/ui/jobs/${hashing.id}`)
    const value = async () => Number(await bar.page.locator('main progress').first().getAttribute('value'))
    const before = await until('its bar has moved', value)
    await until('its bar moves on', async () => (await value()) > before)

    const endless = await submit({ type: 'endless' })
    await reaches(endless.id, 'processing')
    const job = await visit(`${url}/ui/jobs`)
    await job.page.getByRole('link', { name: endless.id }).click()
    await job.page.getByRole('button', { name: 'Cancel' }).click()
    await job.page.getByRole('heading', { name: 'endless cancelled' }).waitFor()

    const failed = await submit({ type: 'throws' })
    await reaches(failed.id, 'failed')
    await job.page.goto(`${url}/ui/jobs/${failed.id}`)
    await job.page.getByText('Stack').click()
    await job.page.getByRole('button', { name: 'Run again' }).click()
    await job.page.getByRole('cell', { name: 'fail', exact: true }).nth(1).waitFor()
    expect([bar.errors, bar.foreign, job.errors, job.foreign]).toEqual([[], [], [], []])
  }, 60_000)

  test('a job is submitted by a form, once although its button is clicked twice', async () => {
    const { url, http } = await startService({ types: ['hash'] })
    const { page, errors, foreign } = await visit(`${url}/ui/submit/hash`)
    await page.getByLabel('payload').fill('{"rounds": 3000}')
    await page.getByRole('button', { name: 'Submit' }).dblclick()
    await page.getByRole('heading', { name: 'hash processing' }).waitFor()
    const bar = page.locator('main progress').first()
    const before = await until('its bar has moved', async () => Number(await bar.getAttribute('value')))
    await until('its bar moves on', async () => Number(await bar.getAttribute('value')) > before)
    expect((await http.get('/jobs').expect(200)).body.jobs).toHaveLength(1)
    expect([errors, foreign]).toEqual([[], []])
  }, 60_000)

  test('a refused form keeps what was typed in, and says what is wrong beside its field', async () => {
    const { url } = await startService()
    const { page, foreign } = await visit(`${url}/ui/submit/email`)
    await page.getByRole('textbox', { name: 'to', exact: true }).fill('nobody')
    await page.getByLabel('subject').fill('Hello "you"')
    await page.getByRole('textbox', { name: 'body', exact: true }).fill('<b>one</b>\ntwo')
    await page.getByRole('button', { name: 'Submit' }).click()
    await page.locator('[name="/payload/to"][aria-invalid]').waitFor()
    expect(await page.getByRole('textbox', { name: 'body', exact: true }).inputValue()).toBe('<b>one</b>\ntwo')
    await page.getByRole('textbox', { name: 'to', exact: true }).fill('user@example.com')
    await page.getByRole('button', { name: 'Submit' }).click()
    await page.getByRole('heading', { name: 'email completed' }).waitFor()
    expect(await page.getByText('Hello').first().textContent()).toContain(String.raw`Hello \"you\"`)
    expect(foreign).toEqual([])
  }, 60_000)

  test('boxes stay ticked while the list is kept up to date, and what is ticked is cancelled', async () => {
    const { url, submit, reaches } = await startService()
    const first = await submit({ type: 'greet', delay: '1h', payload: { name: 'x' } })
    const { page, errors } = await visit(`${url}/ui/jobs`)
    await page.getByLabel(`Select ${first.id}`).check()
    const second = await submit({ type: 'greet', delay: '1h', payload: { name: 'x' } })
    await page.getByLabel(`Select ${second.id}`).waitFor()
    expect(await page.getByLabel(`Select ${first.id}`).isChecked()).toBe(true)
    expect(await page.getByLabel(`Select ${second.id}`).isChecked()).toBe(false)
    await page.getByRole('button', { name: 'Cancel selected' }).click()
    await page.getByText('1 cancelled').waitFor()
    await reaches(first.id, 'cancelled')
    await page.getByRole('link', { name: 'To the jobs' }).click()
    await page.getByLabel('All on this page').check()
    await page.getByRole('button', { name: 'Run selected again' }).click()
    await page.getByText('1 run again').waitFor()
    await page.getByText('1 had not ended').waitFor()
    expect(errors).toEqual([])
  }, 60_000)

  test('charts are drawn, follow what happens and the size of the page, and stay while the rest changes', async () => {
    const { url, submit, ends, http } = await startService({ types: ['throws'] })
    const { page, errors, foreign } = await visit(`${url}/ui/`)
    const charts = page.locator('.chart canvas')
    await until('both are drawn', async () => (await charts.count()) === 2)
    const drawn = () => page.evaluate('document.querySelectorAll(".chart canvas")[1].toDataURL()')
    const before = await drawn()
    await ends((await submit({ type: 'throws' })).id)
    await page.getByRole('link', { name: 'throws' }).waitFor()
    const { text } = await http.get('/ui/charts').expect(200)
    // As the page itself asks for it every quarter of a minute.
    await page.evaluate(`htmx.ajax('GET', '/ui/charts', { target: '#charts', swap: 'innerMorph' })`)
    await until('the failure is in it', async () => (await drawn()) !== before)
    expect(text).toContain('1 failed')
    expect(await charts.count()).toBe(2)
    const width = async () => Number((await charts.first().boundingBox())?.width)
    const wide = await width()
    await page.setViewportSize({ width: 390, height: 800 })
    await until('it fits', async () => (await width()) < Math.min(wide, 390))
    expect([errors, foreign]).toEqual([[], []])
  }, 60_000)

  test('what is under the pointer and the focus never turns into something else', async () => {
    const { url, submit, reaches, http } = await startService()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' } })
    await reaches(id, 'processing')
    const { page, errors } = await visit(`${url}/ui/jobs/${id}`)
    const cancel = page.getByRole('button', { name: 'Cancel' })
    await cancel.focus()
    const at = await cancel.boundingBox()
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await page.getByRole('heading', { name: 'polite cancelled' }).waitFor()
    await page.keyboard.press('Enter')
    await page.mouse.click(Number(at?.x) + 5, Number(at?.y) + 5)
    expect(await cancel.isDisabled()).toBe(true)
    expect((await http.get(`/jobs/${id}/attempts`).expect(200)).body.attempts).toHaveLength(1)
    await page.getByRole('button', { name: 'Run again' }).click()
    await until('it runs again', async () => (await http.get(`/jobs/${id}/attempts`)).body.attempts.length === 2)
    expect(errors).toEqual([])
  }, 60_000)

  test('the log follows a job that runs, and ages count', async () => {
    const speaks = `export default { async run(_, ctx) { for (let i = 1; !ctx.signal.aborted; i += 1) {
      ctx.log('line ' + i + '.'); await new Promise((next) => setTimeout(next, 100)) } } }`
    const { url, submit, reaches, http } = await startService({ files: { 'types/speaks.mjs': speaks } })
    const { id } = await submit({ type: 'speaks' })
    await reaches(id, 'processing')
    const { page, errors } = await visit(`${url}/ui/jobs/${id}`)
    const log = page.locator('#log pre')
    await until('lines come', async () => (await log.textContent())?.includes('line 20.'))
    const started = page.locator('dt:text-is("Started") + dd')
    const age = await started.textContent()
    await until('its age counts', async () => (await started.textContent()) !== age)
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await page
      .getByRole('heading', { name: 'speaks' })
      .getByText(/cancelled|completed/)
      .waitFor()
    const lines = async () => (await log.textContent())?.match(/line \d+\./g) ?? []
    await until('all lines are there', async () => {
      const { logs } = (await http.get(`/jobs/${id}/logs?limit=1000`).expect(200)).body
      return (await lines()).length === logs.length
    })
    expect(new Set(await lines()).size).toBe((await lines()).length)
    expect(errors).toEqual([])
  }, 60_000)

  test('a refusal takes nothing from a page, and it is told when nothing comes any more', async () => {
    const { url } = await startService()
    const { page } = await visit(`${url}/ui/`)
    await until('both charts are drawn', async () => (await page.locator('.chart canvas').count()) === 2)
    const refuse = { status: 503, contentType: 'application/problem+json', body: '{}' }
    await page.route('**/ui/charts', (route) => route.fulfill(refuse))
    await page.evaluate(`htmx.ajax('GET', '/ui/charts', { target: '#charts', swap: 'innerMorph' })`)
    expect(await page.locator('.chart canvas').count()).toBe(2)

    await page.route('**/ui/live/**', (route) => route.fulfill(refuse))
    await page.goto(`${url}/ui/jobs`)
    await page.getByText('Not kept up to date').waitFor()
    expect(await page.getByText('no jobs fit').count()).toBe(1)
    await page.unroute('**/ui/live/**')
    await page.getByText('Not kept up to date').waitFor({ state: 'hidden' })
  }, 60_000)

  test('the overview shows what comes and goes, without being loaded anew', async () => {
    const { url, submit, http } = await startService({ config: { worker: { max_workers: 1 } } })
    const { page, errors } = await visit(`${url}/ui/`)
    await page.getByText('0 of 1 busy').waitFor()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' } })
    await page.getByRole('link', { name: id }).waitFor()
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await page.getByText('0 of 1 busy').waitFor()
    expect(errors).toEqual([])
  }, 60_000)

  test('what somebody types into a filter stays while the list is kept up to date', async () => {
    const { url, submit } = await startService()
    const { page } = await visit(`${url}/ui/jobs`)
    await page.getByLabel('Tag').fill('customer:1')
    const { id } = await submit({ type: 'greet', payload: { name: 'you' }, tags: { customer: '17' } })
    await page.getByRole('link', { name: id }).waitFor()
    expect(await page.getByLabel('Tag').inputValue()).toBe('customer:1')
    await page.getByLabel('Tag').pressSequentially('7')
    await page.keyboard.press('Enter')
    await page.waitForURL(/tag=customer%3A17/)
    expect(await page.getByRole('link', { name: id }).count()).toBe(1)
  }, 60_000)

  test.each([
    ['wide', WIDE],
    ['narrow', NARROW],
  ] as const)(
    'axe finds nothing serious, and nothing runs out of the page, light and dark: %s',
    async (_, viewport) => {
      const daily = { schedule: '0 7 * * *', recipients: 'ops@example.com', subject: 'Yesterday' }
      const config = { worker: { max_workers: 2 }, digests: { daily } }
      const { url, submit, reaches } = await startService({ types: ['throws'], config })
      const failed = await submit({ type: 'throws' })
      await reaches(failed.id, 'failed')
      const running = await submit({ type: 'polite', payload: {} })
      await reaches(running.id, 'processing')
      for (let i = 0; i < 3; i += 1) await submit({ type: 'greet', delay: '1h', payload: { name: 'x'.repeat(300) } })
      const seen = await visit(`${url}/ui/`, [], viewport)
      for (const path of ['/ui/', '/ui/jobs', `/ui/jobs/${running.id}`, `/ui/jobs/${failed.id}`, ...others]) {
        await seen.page.emulateMedia({ colorScheme: 'light' })
        await seen.page.goto(url + path)
        await seen.page.evaluate(AXE)
        expect([path, await seriousIssues(seen), await isTooWide(seen), seen.errors]).toEqual([path, [], false, []])
        // Of the two schemes nothing but the colours differs.
        await seen.page.emulateMedia({ colorScheme: 'dark' })
        expect([path, await seriousIssues(seen, 'colours'), seen.errors]).toEqual([path, [], []])
      }
    },
    120_000,
  )
})
