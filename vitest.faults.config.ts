// The negative controls of jobmill torture, which take their time: `npm run test:faults`, `npm run test:cluster`.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Each starts servers and kills them, as often as its fault takes.
    testTimeout: 180_000,
    hookTimeout: 30_000,
    // Changed copies of the build are loaded as they are.
    server: { deps: { external: [/\/dist\//] } },
  },
})
