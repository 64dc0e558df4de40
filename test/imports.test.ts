// Holds the import directions, and sees the check fail where they are broken.
import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'

interface Summary {
  violations: { rule: { name: string }; from: string; to: string }[]
  totalCruised: number
}

function cruise(...folders: string[]): Summary {
  const cli = 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'
  const options = ['--config', '.dependency-cruiser.mjs', '--output-type', 'json']
  return JSON.parse(execFileSync(process.execPath, [cli, ...options, ...folders], { encoding: 'utf8' })).summary
}

describe('imports', () => {
  test('of src and workers point one way', () => {
    const { violations, totalCruised } = cruise('src', 'workers')
    expect(violations).toEqual([])
    expect(totalCruised).toBeGreaterThan(40)
  })

  test('that point the other way are found', () => {
    const { violations } = cruise('test/fixtures/imports/src', 'test/fixtures/imports/workers')
    expect(violations.map(({ rule }) => rule.name).sort()).toEqual([
      'a-job-type-imports-define-job-and-its-own-folder',
      'pure-files-import-pure-files',
    ])
  })
})
