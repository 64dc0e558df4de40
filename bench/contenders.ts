// Who is measured on PostgreSQL and Redis: jobmill's store and the libraries of bench/peers, all in this process.
import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { redisMissing, startRedis } from './redis.js'
import { BATCH, drain, LIST, openStore, SLOTS, submit, type Way } from './store-jobs.js'

export interface Contender {
  name: string
  /** What the library says of itself, what is on disk when a call is answered, what stays of a job that has ended. */
  about: { says: string; durable: string; keeps: string }
  /** In lists of LIST. */
  submit(jobs: number): Promise<void>
  /** Ends `jobs` jobs at least. */
  drain(jobs: number, way: Way): Promise<{ ended: number; ms: number }>
  close(): Promise<void>
}

type Opened = Pick<Contender, 'submit' | 'drain' | 'close'>
interface Peer {
  about: { keeps: string; durable?: string }
  open(options: { postgres: string; redis?: number; list: number; batch: number; slots: number }): Promise<Opened>
}

const FOLDER = fileURLToPath(new URL('peers', import.meta.url))
const SIZES = { list: LIST, batch: BATCH, slots: SLOTS }
const APPENDFSYNC = {
  everysec: 'Redis: appendonly yes, appendfsync everysec (its default): a power cut takes the last second',
  always: 'Redis: appendonly yes, appendfsync always',
} as const

/** Installs what is in bench/peers, where it is not there yet. Answers why that failed, or null. */
export function install(): string | null {
  const modified = (file: string) => statSync(`${FOLDER}/${file}`, { throwIfNoEntry: false })?.mtimeMs ?? 0
  if (modified('node_modules/.package-lock.json') > modified('package-lock.json')) return null
  const { status, stderr, error } = spawnSync('npm', ['ci', '--prefix', FOLDER], { encoding: 'utf8' })
  return status === 0 ? null : `npm ci --prefix bench/peers: ${error?.message ?? stderr.trim()}`
}

export async function openJobmill(postgres: string): Promise<Contender> {
  const store = await openStore(postgres, 'bench')
  return {
    name: 'jobmill',
    about: {
      says: 'its store, through the Store interface',
      keeps: 'job, result and a record of every attempt, as long as retention says; an end is fenced by the run',
      durable: 'PostgreSQL: synchronous_commit on, whatever the server says',
    },
    submit: (jobs) => submit(store, jobs),
    async drain(jobs, way) {
      const begun = performance.now()
      const ended = await drain(store, 'bench', way, jobs)
      return { ended, ms: performance.now() - begun }
    },
    close: () => store.close(),
  }
}

/** On the same PostgreSQL. */
export const openPeer = (name: string, postgres: string): Promise<Contender> => open(name, name, { postgres })

/** With a Redis of its own in `folder`. */
export async function openBullmq(appendfsync: keyof typeof APPENDFSYNC, folder: string): Promise<Contender> {
  if (redisMissing !== null) throw new Error(redisMissing)
  const redis = await startRedis(folder, appendfsync)
  const contender = await open('bullmq', `bullmq, ${appendfsync}`, { redis: redis.port })
  return {
    ...contender,
    about: { ...contender.about, durable: APPENDFSYNC[appendfsync] },
    async close() {
      await contender.close()
      await redis.stop()
    },
  }
}

async function open(library: string, name: string, where: { postgres?: string; redis?: number }): Promise<Contender> {
  const { about, open }: Peer = await import(`${FOLDER}/${library}.mjs`)
  const { version, license, engines } = JSON.parse(
    readFileSync(`${FOLDER}/node_modules/${library}/package.json`, 'utf8'),
  )
  const says = `${library} ${version}, ${license}, for Node ${engines.node}`
  const opened = await open({ postgres: '', ...where, ...SIZES })
  return { name, about: { durable: '', ...about, says }, ...opened }
}
