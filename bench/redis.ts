// Starts a Redis server.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { freePort } from '../src/torture/postgres.js'
import { until } from '../test/support/until.js'

/** Why there is none, or null. */
export const redisMissing =
  spawnSync('redis-server', ['--version']).status === 0
    ? null
    : 'there is no redis-server here (the Debian package redis-server has it)'

/** With an append-only file that is flushed every second, as by default, or before each answer. */
export async function startRedis(folder: string, appendfsync: 'everysec' | 'always') {
  const port = await freePort()
  const files = { dir: folder, appendonly: 'yes', appenddirname: appendfsync, save: '' }
  const settings = { port, bind: '127.0.0.1', ...files, appendfsync }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  const server = spawn('redis-server', args, { stdio: 'ignore' })
  await until('Redis accepts connections', () => accepts(port))
  return {
    port,
    async stop() {
      const ended = once(server, 'exit')
      server.kill('SIGTERM')
      await ended
    },
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
