// A real small disk: a tmpfs in a namespace of its own, which processes can be started in one after another.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { canRun } from '../store/processes/start.js'

const NAMESPACE = ['--user', '--mount']

/** User namespaces are off on some machines: nothing can be mounted there without being root. */
export const no_small_disk = !canRun('unshare', '--map-root-user', ...NAMESPACE, 'nsenter', '--version')

/** Mounts a disk of `size` (such as "3m") at `folder`, until the test is over. */
export async function mountSmallDisk(folder: string, size: string) {
  const script = 'mount -t tmpfs -o "size=$1" none "$0" && echo mounted && exec sleep 600'
  const holder = spawn('unshare', ['--map-root-user', ...NAMESPACE, 'sh', '-c', script, folder, size], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void holder.kill('SIGKILL'))
  await once(holder.stdout, 'data')
  const enter = ['nsenter', '--target', String(holder.pid), ...NAMESPACE, '--preserve-credentials']
  return {
    /** What to start a program in `cwd` within, so that it sees the disk. */
    within: (cwd: string) => [...enter, 'sh', '-c', 'cd "$0" && exec "$@"', cwd],
    /** The way to a file of the disk from outside. */
    path: (name: string) => `/proc/${holder.pid}/root${folder}/${name}`,
  }
}
