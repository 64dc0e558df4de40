// A real browser, where one is installed: pages that tell of every error, and of everything that they ask of other sites.
import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'
import { onTestFinished } from 'vitest'

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Where it is, or undefined: tests that need it are skipped then, visibly. */
export const CHROMIUM = process.env.JOBMILL_TEST_CHROMIUM ?? PATHS.find((path) => existsSync(path))

let browser: Promise<Browser> | null = null

/** Closes when the process of the tests ends. */
function theBrowser(): Promise<Browser> {
  browser ??= chromium.launch({
    ...(CHROMIUM === undefined ? {} : { executablePath: CHROMIUM }),
    // Root has no sandbox, and containers have little shared memory.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  })
  return browser
}

export interface Visit {
  page: Page
  /** What the console was told of errors, and what was thrown. */
  errors: string[]
  /** Requests to other origins than `allowed`. */
  foreign: string[]
}

export async function visit(
  url: string,
  allowed: readonly string[] = [],
  viewport = { width: 1280, height: 800 },
): Promise<Visit> {
  const context = await (await theBrowser()).newContext({ viewport })
  onTestFinished(() => context.close())
  const page = await context.newPage()
  const origins = [new URL(url).origin, ...allowed]
  const errors: string[] = []
  const foreign: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text())
  })
  page.on('pageerror', (error) => void errors.push(String(error)))
  page.on('request', (request) => {
    if (!request.url().startsWith('data:') && !origins.includes(new URL(request.url()).origin))
      foreign.push(request.url())
  })
  await page.goto(url)
  return { page, errors, foreign }
}
