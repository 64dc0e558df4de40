// A real small disk for a process: a tmpfs that is mounted in a user namespace of its own and gone with it.
import { canRun } from '../store/processes/start.js'

const NAMESPACE = ['--map-root-user', '--mount']

/** User namespaces are off on some machines: nothing can be mounted there without being root. */
export const no_small_disk = !canRun('unshare', ...NAMESPACE, 'true')

/** What to start a program within, so that `folder` is a disk of `size` (such as "3m") to it and to nobody else. */
export function onSmallDisk(folder: string, size: string): string[] {
  return ['unshare', ...NAMESPACE, 'sh', '-c', `mount -t tmpfs -o size=${size} none ${folder} && exec "$@"`, 'sh']
}

/** The way into what the process sees at `path`, from outside its namespace. */
export function insideOf(pid: number | undefined, path: string): string {
  return `/proc/${pid}/root${path}`
}
