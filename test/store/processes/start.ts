// Starts test/store/processes/other.ts and listens to what it tells.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const OTHER = fileURLToPath(new URL('other.ts', import.meta.url))

export interface Other {
  process: ChildProcess
  /** The next thing that it tells. */
  next(): Promise<Record<string, unknown>>
  /** kill −9, seen through. */
  kill(): Promise<void>
}

/** `within` runs it inside another program, such as unshare. */
export function startOther(args: string[], within: string[] = []): Other {
  const [command = '', ...rest] = [...within, process.execPath, '--expose-gc', '--import', 'tsx', OTHER, ...args]
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  async function kill(): Promise<void> {
    child.kill('SIGKILL')
    await exited
  }
  onTestFinished(kill)
  return {
    process: child,
    async next() {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${args.join(' ')} ended without a word`)
      return JSON.parse(value)
    },
    kill,
  }
}

/** Whether this machine runs a program at all: some sandboxes do not. */
export function canRun(command: string, ...args: string[]): boolean {
  return spawnSync(command, args).status === 0
}
