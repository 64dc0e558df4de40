// jobmill as a process of its own: started in a folder, asked over HTTP, sent signals, killed.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import type { Bench } from './bench.js'
import { until, within } from './bench.js'

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into field by field
  body: any
}

export interface Server {
  url: string
  child: ChildProcess
  exit: Promise<Exit>
  /** Lines of its log since it was started. */
  log(): Record<string, unknown>[]
  /** Rejects where no whole answer came. */
  call(method: string, path: string, body?: unknown): Promise<Answer>
  kill(signal: NodeJS.Signals): Promise<Exit>
}

export interface LaunchOptions {
  env?: NodeJS.ProcessEnv
  /** A command that runs the one that follows it, in the same process. */
  wrapper?: readonly string[]
  /** Arguments of Node before the program. */
  node?: readonly string[]
  /** The file of its log. */
  log?: string
}

const START_LIMIT_MS = 60_000
const CALL_LIMIT_MS = 60_000
/** Of clients that ask at the same time. */
const SOCKETS = 64

/** Starts the program and does not wait for anything. Its log goes to a file: a pipe that nobody reads would hold it up. */
export function launch(bench: Bench, folder: string, options: LaunchOptions = {}) {
  const { env = {}, wrapper = [], node = [] } = options
  bench.interrupted.throwIfAborted()
  const path = logFile(folder, options)
  const log = openSync(path, 'a')
  const before = readFileSync(path, 'utf8').length
  const command = [...wrapper, process.execPath, ...node, bench.main, '--port', '0']
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  const exit = new Promise<Exit>((resolve, reject) => {
    child.on('exit', (code, signal) => resolve({ code, signal }))
    child.on('error', reject)
  })
  return { child, exit, text: () => readFileSync(path, 'utf8').slice(before) }
}

const logFile = (folder: string, { log = 'server.log' }: LaunchOptions) => join(folder, log)

/** Starts it and waits until it listens; null where it ended before. */
export async function startOrEnd(bench: Bench, folder: string, options?: LaunchOptions): Promise<Server | null> {
  const { child, exit, text } = launch(bench, folder, options)
  let ended = false
  void exit.then(() => {
    ended = true
  })
  const url = await until(
    'the server listens',
    () => (ended ? 'ended' : /jobmill listens on (http:\/\/[\d.:]+)/.exec(text())?.[1]),
    START_LIMIT_MS,
  )
  if (url === 'ended') return null
  const agent = new Agent({ keepAlive: true, maxSockets: SOCKETS })
  return {
    url,
    child,
    exit,
    log: () => text().split('\n').flatMap(parseLine),
    call: (method, path, body) => call(agent, url, method, path, body),
    async kill(signal) {
      child.kill(signal)
      const answer = await within(`the server ended with ${signal}`, exit)
      agent.destroy()
      return answer
    },
  }
}

export async function start(bench: Bench, folder: string, options: LaunchOptions = {}): Promise<Server> {
  const server = await startOrEnd(bench, folder, options)
  if (server !== null) return server
  throw new Error(`the server did not start: ${readFileSync(logFile(folder, options), 'utf8').slice(-500)}`)
}

/** Kills the server at the end, also where `body` fails; `body` may have ended it before. */
export async function withServer<T>(server: Server, body: (server: Server) => Promise<T>): Promise<T> {
  try {
    return await body(server)
  } finally {
    await server.kill('SIGKILL')
  }
}

function call(agent: Agent, url: string, method: string, path: string, body: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers = text === undefined ? {} : { 'content-length': Buffer.byteLength(text) }
    const req = request(url + path, { agent, method, headers, timeout: CALL_LIMIT_MS }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('error', reject)
      res.on('end', () => {
        const answer = Buffer.concat(chunks).toString()
        const { statusCode: status = 0, headers } = res
        resolve({ status, headers, body: answer.startsWith('{') ? JSON.parse(answer) : answer })
      })
    })
    req.on('timeout', () => req.destroy(new Error(`no answer within ${CALL_LIMIT_MS / 1_000} s`)))
    req.on('error', reject)
    req.end(text)
  })
}

function parseLine(line: string): Record<string, unknown>[] {
  if (!line.startsWith('{') || !line.endsWith('}')) return []
  return [JSON.parse(line)]
}
