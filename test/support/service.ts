// A whole service in this process, on a port of its own, with its log lines at hand.
import { join } from 'node:path'
import supertest from 'supertest'
import { afterAll, onTestFinished } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { createLogger } from '../../src/log.js'
import { createService, type Service } from '../../src/service.js'
import { freshFolder } from './folder.js'
import { typeFiles, typeFolder } from './types.js'
import { until } from './until.js'

export interface ServiceOptions {
  config?: {
    server?: object
    data?: object
    worker?: object
    jobs?: object
    auth?: object
    retention?: object
    limits?: object
    schedules?: object
    digests?: object
  }
  /** Names of the types that the test needs beside the common ones; each costs the start a little. */
  types?: string[]
  /** Texts are those of types where their name begins with `types/`. */
  files?: Record<string, unknown>
  now?: () => number
  clock?: () => number
  idle_ms?: number
}

export interface JobBody {
  id: string
  type: string
  status: string
  progress: number
  progress_note: string | null
  reason: string
  reason_detail: string
  attempt: number
  max_attempts: number
  interruptions: number
  payload: unknown
  result: unknown
  artifacts: { name: string; bytes: number; content_type: string; url: string }[]
  error: { code: string; message: string; attempt: number } | null
  worker: { node: string; slot: number } | null
  started_at: string | null
  finished_at: string | null
  run_at: string | null
  created_at: string
}

const COMMON = ['greet', 'polite', 'endless']
const FINAL = ['completed', 'failed', 'cancelled']

type Clean = () => void | Promise<void>
type Ended = (clean: Clean) => void

/** Until the test is over. */
export const startService = (options: ServiceOptions = {}) => start(options, onTestFinished)

/**
 * One service for those tests of a suite that do not mind what others leave there: a start takes longer than most
 * requests. To be called while the suite is described.
 */
export function shareService(options: ServiceOptions | (() => ServiceOptions) = {}) {
  const cleaning: Clean[] = []
  let service: ReturnType<typeof start> | null = null
  afterAll(async () => {
    for (const clean of cleaning.reverse()) await clean()
  })
  return () =>
    (service ??= start(typeof options === 'function' ? options() : options, (clean) => void cleaning.push(clean)))
}

async function start({ config = {}, types = [], files = {}, ...time }: ServiceOptions, ended: Ended) {
  const own = Object.entries(files).filter(([file]) => file.startsWith('types/'))
  const known = typeFolder({
    ...typeFiles([...COMMON, ...types]),
    ...(Object.fromEntries(own) as Record<string, string>),
  })
  const settings = {
    ...config,
    server: { port: 0, ...config.server },
    worker: { types: [known], cancel_grace: 1, ...config.worker },
  }
  const others = Object.entries(files).filter(([file]) => !file.startsWith('types/'))
  const folder = freshFolder({ ...Object.fromEntries(others), 'config.yaml': settings }, ended)
  const lines: Record<string, unknown>[] = []
  const log = createLogger({ write: (line) => void lines.push(JSON.parse(line)) })
  const service: Service = await createService(loadConfig({ cwd: folder, env: {} }), { log, ...time })
  ended(async () => {
    setTimeout(service.hurry, 100).unref()
    await service.stop()
  })
  const url = await service.start()
  const http = supertest(url)

  async function get(id: string): Promise<JobBody> {
    return (await http.get(`/jobs/${id}`).expect(200)).body
  }

  return {
    service,
    url,
    http,
    folder,
    lines,
    path: (name: string) => join(folder, name),
    get,
    async submit(job: object): Promise<JobBody> {
      return (await http.post('/jobs').send(job).expect(202)).body
    },
    /** Waits until the job has that status. */
    async reaches(id: string, status: string): Promise<JobBody> {
      return until(`${id} is ${status}`, async () => {
        const job = await get(id)
        if (FINAL.includes(job.status) && job.status !== status) throw new Error(`ended: ${JSON.stringify(job)}`)
        return job.status === status && job
      })
    },
    async ends(id: string): Promise<JobBody> {
      return until(`${id} is final`, async () => {
        const job = await get(id)
        return FINAL.includes(job.status) && job
      })
    },
  }
}
