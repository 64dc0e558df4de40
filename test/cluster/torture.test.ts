// A short try of what `npm run test:cluster` tries at length: nodes of this build that are killed, and that stop.
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { tryKills } from '../../src/torture/faults/cluster/kills.js'
import { tryStops } from '../../src/torture/faults/cluster/stops.js'
import { missingPostgres } from '../../src/torture/postgres.js'

const main = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))
const bench = { main, soak_s: 0, interrupted: new AbortController().signal }
const missing = missingPostgres()

describe.skipIf(missing !== null)(`three nodes keep their promises (${missing ?? 'on a real server'})`, () => {
  test.each([
    ['kill −9', () => tryKills(bench, 3)],
    ['SIGSTOP beyond the lease', () => tryStops(bench, 1)],
  ])('under %s', { timeout: 180_000 }, async (_, attempt) => {
    const { counts, violations } = await attempt()
    expect(violations).toEqual([])
    expect(Number(counts.acknowledged)).toBeGreaterThan(0)
  })
})
