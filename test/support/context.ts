// What a handler is given, for calling it in this process: artifacts are files of a folder, the main thread is away.
import { createWriteStream, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { JobContext } from '../../src/define-job.js'

/** `parts` replaces what a test needs to be otherwise. Artifacts are written into `artifacts/` of `folder`. */
export function handlerContext<Config>(
  config: Config,
  folder = '/nowhere',
  parts: Partial<JobContext<Config>> = {},
): JobContext<Config> {
  const away = () => Promise.reject(new Error('the main thread is not part of this test'))
  return {
    id: '019a2b3c-0000-7000-8000-000000000001',
    attempt: 1,
    run: 1,
    signal: new AbortController().signal,
    config,
    resolve: (path) => resolve(folder, path),
    progress: async () => {},
    log: () => {},
    artifact(name) {
      mkdirSync(join(folder, 'artifacts'), { recursive: true })
      return createWriteStream(join(folder, 'artifacts', name))
    },
    checkpoint: async () => {},
    lastCheckpoint: null,
    snooze(delay) {
      throw new Error(`snoozed for ${delay}`)
    },
    dependencies: [],
    jobs: { page: away, count: away, prune: away },
    openArtifact: away,
    submit: away,
    ...parts,
  }
}
