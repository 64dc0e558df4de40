// While `cleanup` walks a root, another thread swaps a folder in it for a link to files outside, again and again.
import { lstatSync, mkdirSync, readdirSync, readFileSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { cleanFiles } from '../../workers/cleanup/files.js'
import { type Folder, type OpenFolder, openByPath } from '../../workers/cleanup/folder.js'
import { createMeter } from '../../workers/cleanup/meter.js'
import { freshFolder } from '../support/folder.js'

const TRIES = 1_000
const NAMES = Array.from({ length: 10 }, (_, i) => `file-${i}`)

/** Fills root/a with old files, then swaps it for a link to outside/ and back; the files outside have the same names. */
const SWAPPER = `
  const { renameSync, symlinkSync, unlinkSync, mkdirSync, openSync, futimesSync, closeSync } = require('node:fs')
  const { workerData: { folder, names, tries } } = require('node:worker_threads')
  for (;;) {
    mkdirSync(folder + '/root/a', { recursive: true })
    for (const name of names) {
      const fd = openSync(folder + '/root/a/' + name, 'w')
      futimesSync(fd, 1, 1)
      closeSync(fd)
    }
    // By now some walk is inside, or is about to go in.
    Atomics.wait(tries, 1, 0, (Atomics.load(tries, 0) % 5) / 5)
    renameSync(folder + '/root/a', folder + '/parked')
    symlinkSync(folder + '/outside', folder + '/root/a')
    Atomics.wait(tries, 1, 0, (Atomics.load(tries, 0) % 4) / 4)
    unlinkSync(folder + '/root/a')
    renameSync(folder + '/parked', folder + '/root/a')
    Atomics.add(tries, 0, 1)
  }`

/** A folder with a root that is being swapped, and files outside. Only this test's own threads run. */
function startSwapping() {
  const folder = freshFolder()
  for (const name of ['root', 'outside']) mkdirSync(join(folder, name))
  for (const name of NAMES) {
    const path = join(folder, 'outside', name)
    writeFileSync(path, `precious ${name}`)
    utimesSync(path, 1, 1)
  }
  const tries = new Int32Array(new SharedArrayBuffer(8))
  const swapper = new Worker(SWAPPER, { eval: true, workerData: { folder, names: NAMES, tries } })
  let failure: Error | null = null
  swapper.on('error', (error) => {
    failure = error
  })
  onTestFinished(async () => void (await swapper.terminate()))
  return {
    root: join(folder, 'root'),
    tries() {
      if (failure !== null) throw failure
      return Atomics.load(tries, 0)
    },
    outside: () => readdirSync(join(folder, 'outside')).sort(),
    contents: () => NAMES.map((name) => readFileSync(join(folder, 'outside', name), 'utf8')),
  }
}

async function clean(root: string, open?: OpenFolder) {
  const meter = createMeter({ signal: new AbortController().signal, progress: async () => {} }, 1)
  return cleanFiles([root], (path) => path, { before: Date.now() - 86_400_000, dry_run: false, meter }, open)
}

/** What a walk by paths does that looks at everything first: a link is not followed, as far as it knows. */
function cleanNaively(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    try {
      const stat = lstatSync(path)
      if (stat.isDirectory()) cleanNaively(path)
      else if (stat.isFile() && stat.mtimeMs < Date.now() - 86_400_000) unlinkSync(path)
    } catch {
      // Swapped or gone meanwhile.
    }
  }
}

/** A walk that trusts paths: this release's, without the descriptors and without the look at where a folder lies. */
function unprotected(folder: Folder): Folder {
  return { ...folder, inPlace: () => true, open: (name) => unprotected(folder.open(name)) }
}

test('1,000 swaps of a folder for a link do not lead a cleanup to the files outside', async () => {
  const { root, tries, outside, contents } = startSwapping()
  let deleted = 0
  let skipped = 0
  while (tries() < TRIES) {
    const result = await clean(root)
    deleted += result.deleted
    skipped += result.skipped
    expect(outside()).toEqual(NAMES)
    await turn()
  }
  expect(contents()).toEqual(NAMES.map((name) => `precious ${name}`))
  // It met both the folder and the link, or it would be safe for having done nothing.
  expect(deleted).toBeGreaterThan(100)
  expect(skipped).toBeGreaterThan(100)
})

test.each<[string, (root: string) => unknown]>([
  ['a walk by paths', cleanNaively],
  ['a cleanup without its protection', (root) => clean(root, (path) => unprotected(openByPath(path)))],
])('the same swaps lead %s to the files outside', async (_, walk) => {
  const { root, tries, outside } = startSwapping()
  while (outside().length === NAMES.length && tries() < 20 * TRIES) {
    await walk(root)
    await turn()
  }
  expect(outside().length).toBeLessThan(NAMES.length)
})
