// Where the compiled files are: threads load those, also while the main thread runs from TypeScript, as in tests.
import { createRequire } from 'node:module'

const compiled = import.meta.url.endsWith('.js')

/** The folder that holds `src/` and `workers/` in JavaScript; ends with a slash. */
export const BUILD = new URL(compiled ? '../' : '../dist/', import.meta.url)

/** Of jobmill. */
export function version(): string {
  return createRequire(BUILD)('../package.json').version
}
