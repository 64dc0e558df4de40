// Programs of the system that some faults need, and whether this machine has them.
import { spawnSync } from 'node:child_process'

/** Rejects, by throwing, where the program fails. */
export function command(name: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8' })
  if (status === 0) return stdout
  throw new Error(`${name} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`)
}

/** Why these programs cannot be used, or null. */
export function missingPrograms(...names: string[]): string | null {
  if (process.platform !== 'linux') return 'needs Linux'
  const absent = names.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)
  return absent.length === 0 ? null : `needs ${absent.join(', ')}`
}

const missingRoot = (): string | null => (process.getuid?.() === 0 ? null : 'needs root')

/** Why no file system can be mounted here, or null: root alone is not enough in a container. */
export function missingMount(): string | null {
  const missing = missingPrograms('mount', 'umount', 'unshare') ?? missingRoot()
  if (missing !== null) return missing
  const allowed = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0
  return allowed ? null : 'needs the right to mount'
}
