// The job type that tells on the server: its handler writes down each run in a file of its own.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Real work of `rounds` pieces, with pauses of so many milliseconds, between a line that it begins and one that it ends. */
const TYPE = `import { appendFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { setImmediate, setTimeout } from 'node:timers/promises'
export default { timeout: '60s', retry_count: 3, backoff: { base: '10ms', max: '50ms' }, async run({ token, rounds = 5, pause }, ctx) {
  const note = (what) => appendFileSync(process.env.TORTURE_WITNESS, [what, ctx.id, ctx.run, token].join(' ') + '\\n')
  note('begin')
  let digest = ctx.id
  for (let i = 0; i < rounds; i += 1) {
    ctx.signal.throwIfAborted()
    for (let j = 0; j < 200; j += 1) digest = createHash('sha256').update(digest).digest('hex')
    await (pause === undefined ? setImmediate() : setTimeout(pause))
    if (pause > 20) void ctx.progress((100 * i) / rounds)
  }
  note('end')
  return { digest, run: ctx.run }
} }`

export interface Line {
  what: 'begin' | 'end'
  id: string
  run: number
  token: string
}

/** Files of a folder in which a server runs witnesses, with more settings and more job types. */
export function witnessFolder(settings: Settings = {}, types: Record<string, string> = {}): Record<string, unknown> {
  const files = Object.entries(types).map(([name, text]) => [`types/${name}.mjs`, text])
  const unused = Object.fromEntries(['email', 'export', 'cleanup'].map((name) => [name, { enabled: false }]))
  return {
    'types/witness.mjs': TYPE,
    ...Object.fromEntries(files),
    'config.yaml': {
      ...settings,
      worker: { types: ['types'], max_workers: 4, queue_size: 1_000_000, poison_after: 100, ...settings.worker },
      jobs: { ...unused, ...settings.jobs },
    },
  }
}

export interface Settings {
  server?: object
  data?: object
  worker?: object
  jobs?: object
}

/** The environment in which handlers know where to write. */
export const witnessed = (folder: string): NodeJS.ProcessEnv => ({ TORTURE_WITNESS: join(folder, 'witness.txt') })

export function readWitness(folder: string): Line[] {
  const file = join(folder, 'witness.txt')
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8').split('\n').flatMap(parse)
}

/** A line that a kill cut off is none. */
function parse(text: string): Line[] {
  const [what, id = '', run, token, ...rest] = text.split(' ')
  if ((what !== 'begin' && what !== 'end') || token === undefined || rest.length > 0) return []
  return [{ what, id, run: Number(run), token }]
}

/** Marks in the file that all runs of before are dead. */
export function noteCrash(folder: string): void {
  // A line may have been cut off.
  appendFileSync(join(folder, 'witness.txt'), '\n')
}
