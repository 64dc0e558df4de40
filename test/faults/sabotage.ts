// A copy of the build with one protection taken out, to see whether the checker notices.
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bench, Finding } from '../../src/torture/bench.js'
import { freshFolder } from '../support/folder.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A file of the build, what stands in it, and what is to stand there instead. */
export type Change = [file: string, from: string, to: string]

export function build(changes: Change[] = []): Bench {
  const folder = freshFolder()
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  for (const shared of ['node_modules', 'package.json']) symlinkSync(join(ROOT, shared), join(folder, shared))
  for (const [name, from, to] of changes) {
    const file = join(folder, 'dist', name)
    const text = readFileSync(file, 'utf8')
    if (!text.includes(from)) throw new Error(`${name} has no ${from}: the control would show nothing`)
    writeFileSync(file, text.replace(from, to))
  }
  return { main: join(folder, 'dist/src/main.js'), soak_s: 0, interrupted: new AbortController().signal }
}

/** A server that no longer keeps its promises may also no longer do what the fault waits for. */
export const violationsOf = (finding: Promise<Finding>) =>
  finding.then(
    ({ violations }) => violations,
    (error: Error) => [error.message],
  )
