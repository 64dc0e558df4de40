// docs/reliability*.md are the pages that jobmill torture wrote: they have every fault, and nothing on them is broken.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Fault, Finding } from '../src/torture/bench.js'
import { writeReport } from '../src/torture/report.js'
import { type Driver, FAULTS, holds, type Row } from '../src/torture/torture.js'
import { freshFolder } from './support/folder.js'

const pages: [name: string, driver: Driver][] = [
  ['reliability.md', 'sqlite3'],
  ['reliability-cluster.md', 'postgres'],
]

function rowsOf(markdown: string): string[][] {
  const lines = markdown.split('\n').filter((line) => /^\| \d/.test(line))
  return lines.map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

describe.each(pages)('docs/%s', (name, driver) => {
  const page = readFileSync(new URL(`../docs/${name}`, import.meta.url), 'utf8')

  test('has a row for each fault, as the code words it', () => {
    const told = rowsOf(page).map(([number, name, expected]) => [Number(number), name, expected])
    expect(told).toEqual(FAULTS[driver].map(({ number, name, expected }) => [number, name, expected]))
  })

  test.each(rowsOf(page))(
    'fault %s (%s) was seen as expected, in some rounds, or says why it was not tried',
    (...cells) => {
      const [, , , seen, rounds] = cells
      if (/^not tried: needs /.test(String(seen))) return
      expect(seen).toBe('as expected')
      expect(Number(rounds)).toBeGreaterThan(0)
    },
  )
})

describe('the report', () => {
  const fault = { number: 1, name: 'a | b', expected: 'all goes on', missing: () => null } as unknown as Fault
  const row = (finding: Finding | null, missing: string | null = null): Row => ({ fault, finding, missing, seconds: 1 })
  const write = (...rows: Row[]) => {
    const file = join(freshFolder(), 'report.md')
    writeReport(file, { driver: 'sqlite3', rows, version: '1.2.3', today: '2030-01-31' })
    return readFileSync(file, 'utf8')
  }

  test('tells what was seen, what was not, and what could not be tried', () => {
    const fine = row({ rounds: 3, counts: { stored: 1_000, refused: 0 }, violations: [] })
    const broken = row({ rounds: 3, counts: {}, violations: ['2 jobs are lost', '2 jobs are lost'] })
    const text = write(fine, broken, row(null, 'needs root'))
    expect(text).toContain('| 1 | a \\| b | all goes on | as expected | 3 | stored 1,000 |')
    expect(text).toContain('| all goes on | 2 jobs are lost | 3 |  |')
    expect(text).toContain('| all goes on | not tried: needs root | 0 |  |')
    expect([fine, broken, row(null, 'needs root')].map(holds)).toEqual([true, false, true])
    expect(text).toContain('2030-01-31, jobmill 1.2.3')
  })
})
