// jobmill as a process of its own, from the build: started, asked over HTTP, sent signals, killed.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'
import type { JobBody } from './service.js'
import { until } from './until.js'

const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url))

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** Starts the program in `folder`, inside another program if `within` says so, of the build with that `main`, and does not wait for anything. */
export function launch(
  folder: string,
  args: string[] = [],
  env: NodeJS.ProcessEnv = {},
  within: string[] = [],
  main = MAIN,
) {
  const [command = '', ...rest] = [...within, process.execPath, main, ...args]
  const child: ChildProcess = spawn(command, rest, {
    cwd: folder,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout?.on('data', (text) => {
    output += text
  })
  child.stderr?.on('data', (text) => {
    errors += text
  })
  const exit = new Promise<Exit>((resolve) => child.on('close', (code, signal) => resolve({ code, signal })))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exit
  })
  return { child, exit, output: () => output, errors: () => errors }
}

/** Starts the service on a free port and waits until it says that it is ready. */
export async function startProcess(folder: string, env: NodeJS.ProcessEnv = {}, within: string[] = [], main = MAIN) {
  const process = launch(folder, ['--port', '0'], env, within, main)
  const { child, exit, output, errors } = process
  const url = await until('the service listens', () => {
    if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${errors()}${output()}`)
    return /jobmill listens on (http:\/\/[\d.:]+)/.exec(output())?.[1]
  })

  async function call(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: JobBody & Record<string, unknown> }> {
    const response = await fetch(url + path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
    return { status: response.status, body: (await response.json()) as JobBody & Record<string, unknown> }
  }

  return {
    ...process,
    url,
    call,
    lines: () =>
      output()
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    get: async (id: string) => (await call('GET', `/jobs/${id}`)).body,
    async submit(job: object): Promise<JobBody> {
      const { status, body } = await call('POST', '/jobs', job)
      if (status !== 202) throw new Error(`refused: ${JSON.stringify(body)}`)
      return body
    },
    async reaches(id: string, ...statuses: string[]): Promise<JobBody> {
      return until(`${id} is ${statuses.join(' or ')}`, async () => {
        const { body } = await call('GET', `/jobs/${id}`)
        return statuses.includes(body.status) && body
      })
    },
    async stats() {
      return (await call('GET', '/workers/stats')).body as unknown as {
        queued_jobs: number
        active_workers: number
        completed_jobs: number
        failed_jobs: number
      }
    },
    async kill(signal: NodeJS.Signals): Promise<Exit> {
      child.kill(signal)
      return exit
    },
  }
}

/** As `ps` counts it, shared libraries included. */
export async function residentBytes(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return Number(stdout) * 1_024
}
