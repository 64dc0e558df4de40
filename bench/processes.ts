// Starts the servers under measurement as processes of their own.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const START_LIMIT_MS = 60_000

export interface Server {
  url: string
  child: ChildProcess
  /** Milliseconds from the start of the process until it said that it listens. */
  ready_ms: number
  stop(): Promise<void>
}

/** Output goes to a file, as it does in service: a pipe would make the reader part of the measurement. */
async function start(folder: string, args: string[]): Promise<Server> {
  const log = join(folder, `output-${Date.now()}.log`)
  const output = openSync(log, 'a')
  const begun = performance.now()
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', output, 'inherit'] })
  closeSync(output)
  while (performance.now() - begun < START_LIMIT_MS && child.exitCode === null) {
    const [, url] = /(http:\/\/[\d.:]+)/.exec(readFileSync(log, 'utf8')) ?? []
    if (url !== undefined) return { url, child, ready_ms: performance.now() - begun, stop: () => stop(child) }
    await sleep(5)
  }
  throw new Error(`no server after ${START_LIMIT_MS} ms: ${readFileSync(log, 'utf8')}`)
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

export function startEcho(folder: string): Promise<Server> {
  return start(folder, ['--import', 'tsx', join(ROOT, 'bench/echo.ts')].map(resolveTsx))
}

/** tsx is looked up from the working folder, which is not this project's. */
function resolveTsx(argument: string): string {
  return argument === 'tsx' ? import.meta.resolve('tsx') : argument
}

/** With room for everything that a benchmark submits. */
export function startJobmill(folder: string): Promise<Server> {
  const config = {
    server: { port: 0 },
    data: { max_stored: 100_000_000 },
    worker: { queue_size: 100_000_000, types: [join(ROOT, 'bench/types')] },
  }
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config))
  return start(folder, [join(ROOT, 'dist/src/main.js')])
}

export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'jobmill-bench-'))
  try {
    return await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
