// Tests run in processes of their own; e2e tests start the build in dist/.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They have a run of their own, after jobmill torture.
    exclude: ['test/faults/**'],
    pool: 'forks',
    // Most of what tests do is to wait for threads and processes: two files at once take little more than half the time.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
