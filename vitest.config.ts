// Tests run in processes of their own; e2e tests start the build in dist/.
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that take longest: begun first, so that none of them goes on alone at the end. */
const LONG = [
  'test/browser/pages',
  'test/cluster/artifacts',
  'test/e2e/crash',
  'test/e2e/start',
  'test/cluster/torture',
  'test/workers/export-threads',
  'test/browser/docs',
  'test/e2e/full-disk',
  'test/e2e/shutdown',
  'test/readme',
  'test/e2e/threads',
  'test/migrate/kill',
  'test/forged-messages',
  'test/artifacts',
]

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      return at === -1 ? LONG.length : at
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They have a run of their own, after jobmill torture.
    exclude: ['test/faults/**'],
    pool: 'forks',
    // Most of what tests do is to wait for threads and processes: two files at once take little more than half the time.
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
