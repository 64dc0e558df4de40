// examples/htmx in a real browser: a page of another origin, its button, the bar, the picture, the toast.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { CHROMIUM, visit } from '../support/browser.js'
import { freshFolder } from '../support/folder.js'
import { startProcess } from '../support/process.js'
import { until } from '../support/until.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

async function freePort(): Promise<number> {
  const server = createServer().listen(0, 'localhost')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function startPage(folder: string, port: number, jobmill: string): Promise<string> {
  const child = spawn(process.execPath, ['examples/htmx/server.mjs', String(port), jobmill], { cwd: folder })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (text) => {
    output += text
  })
  return until('the page is served', () => /http:\/\/localhost:\d+/.exec(output)?.[0])
}

test.skipIf(CHROMIUM === undefined)(
  'the page of the example makes a job, follows it and shows what it made (skipped without Chromium)',
  async () => {
    const folder = freshFolder()
    cpSync(join(ROOT, 'examples'), join(folder, 'examples'), {
      recursive: true,
      filter: (path) => !/\/data$/.test(path),
    })
    for (const name of ['dist', 'node_modules']) symlinkSync(join(ROOT, name), join(folder, name))
    const port = await freePort()
    const config = join(folder, 'examples/htmx/config.yaml')
    const text = readFileSync(config, 'utf8')
    expect(text).toContain('http://localhost:3000')
    writeFileSync(config, text.replace('http://localhost:3000', `http://localhost:${port}`))
    const { url } = await startProcess(folder, { JOBMILL_CONFIG: config })
    const { page, errors, foreign } = await visit(await startPage(folder, port, url), [url])
    await page.getByRole('button', { name: 'Count them' }).click()
    await page.getByRole('progressbar').waitFor()
    await page.locator('#job img').waitFor()
    expect(await page.getByRole('status').textContent()).toBe('Your job is done.')
    expect(await page.locator('#job a').getAttribute('download')).toBe('primes.svg')
    const drawn = await page.locator('#job img').evaluate((image) => Reflect.get(image, 'naturalWidth'))
    expect(drawn).toBe(400)

    await page.getByLabel('Up to').fill('50000000')
    await page.getByRole('button', { name: 'Count them' }).click()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('button', { name: 'Run again' }).waitFor()
    expect(await page.getByRole('status').textContent()).toBe('Your job did not succeed.')
    expect([errors, foreign]).toEqual([[], []])
  },
  60_000,
)
