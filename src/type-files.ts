// Finds the files of job types and loads each after a trial in a throwaway thread.
import { AsyncLocalStorage } from 'node:async_hooks'
import { existsSync, readdirSync } from 'node:fs'
import { join, parse } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { BUILD } from './build.js'
import type { JobDefinition } from './define-job.js'

/** Longest time that a type's file may take to load. */
const LOAD_LIMIT_MS = 5_000
/** All files together get less: then each is tried by itself. */
const TOGETHER_LIMIT_MS = 2_000
const NAME = /^[A-Za-z][\w-]{0,63}$/
const EXTENSIONS = ['.js', '.mjs', '.ts']

/** Files that this process has loaded: another import answers the same module, there is nothing to try. */
const loaded = new Set<string>()

/** Which type's file an error comes from that is thrown after it was loaded, by a timer that it started. */
const atFault = new AsyncLocalStorage<string>()

/** The type whose file started what runs now, or null: such an error must not end the service. */
export function typeAtFault(): string | null {
  return atFault.getStore() ?? null
}

export interface TypeFile {
  name: string
  url: string
}

/** `<type>.js`, or `<type>/index.js` where a type needs parts; likewise .mjs and .ts. */
export function findTypes(folder: string): TypeFile[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const { name, ext } = parse(entry.name)
      const ours = EXTENSIONS.includes(ext) && !entry.name.endsWith('.d.ts')
      const file = entry.isDirectory() ? indexOf(join(folder, entry.name)) : ours ? entry.name : null
      const type = entry.isDirectory() ? entry.name : name
      return file === null ? [] : [{ name: type, url: pathToFileURL(join(folder, file)).href }]
    })
}

function indexOf(folder: string): string | null {
  const index = EXTENSIONS.map((ext) => `index${ext}`).find((name) => existsSync(join(folder, name)))
  return index === undefined ? null : join(parse(folder).base, index)
}

/** Each file with its default export, or why that cannot be used. */
export async function loadTypes(files: TypeFile[]): Promise<(TypeFile & { definition: JobDefinition | string })[]> {
  // As a rule all are well, and one thread for all starts sooner than one for each.
  const untried = files.map(({ url }) => url).filter((url) => !loaded.has(url))
  const all_well = untried.length === 0 || (await tryInThread(untried, TOGETHER_LIMIT_MS)) === null
  return Promise.all(files.map(async (file) => ({ ...file, definition: await loadType(file, all_well) })))
}

async function loadType({ name, url }: TypeFile, tried: boolean): Promise<JobDefinition | string> {
  if (!NAME.test(name)) return 'its name must be letters, digits, "_" and "-", beginning with a letter'
  try {
    const failure = tried || loaded.has(url) ? null : await tryInThread([url], LOAD_LIMIT_MS)
    if (failure !== null) return failure
    const { default: definition } = await atFault.run(name, () => import(url))
    loaded.add(url)
    return typeof definition?.run === 'function' ? definition : 'its default export has no function run(payload, ctx)'
  } catch (error) {
    return `cannot be loaded: ${explainLoad(error)}`
  }
}

async function tryInThread(urls: string[], limit_ms: number): Promise<string | null> {
  const thread = new Worker(new URL('src/type-probe.js', BUILD), { workerData: { urls } })
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve) => {
      const hung = `did not finish loading within ${limit_ms / 1_000} s`
      // Threads of all types start together and share the cores: the clock starts when this one runs.
      thread.once('online', () => {
        timer = setTimeout(() => resolve(hung), limit_ms)
      })
      thread.once('message', () => resolve(null))
      thread.once('error', (error) => resolve(`cannot be loaded: ${explainLoad(error)}`))
      thread.once('exit', (code) => resolve(`ended its thread while loading (exit code ${code})`))
    })
  } finally {
    clearTimeout(timer)
    await thread.terminate()
  }
}

function explainLoad(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const unreadable = 'code' in error && error.code === 'ERR_UNKNOWN_FILE_EXTENSION'
  return unreadable ? `Node ${process.version} does not read this kind of file; use .js or .mjs` : error.message
}
