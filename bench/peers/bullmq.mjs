// BullMQ on a Redis of its own: one worker in this process.
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

export const about = {
  keeps: 'job and result until they are removed; no record of single attempts; an end is fenced by a lock',
}

const QUEUE = 'noop'
/** More at once made it no faster. */
const CONCURRENCY = 100

export async function open({ redis, list, slots }) {
  // Its workers ask for a connection that never gives up.
  const connection = new Redis({ host: '127.0.0.1', port: redis, maxRetriesPerRequest: null })
  const queue = new Queue(QUEUE, { connection })
  await queue.waitUntilReady()

  return {
    async submit(jobs) {
      for (let stored = 0; stored < jobs; stored += list)
        await queue.addBulk(Array.from({ length: list }, () => ({ name: 'noop', data: { n: 1 } })))
    },
    async drain(jobs, way) {
      const concurrency = way === 'batches' ? CONCURRENCY : slots
      const worker = new Worker(QUEUE, async () => null, { connection, concurrency, autorun: false })
      let ended = 0
      const enough = new Promise((resolve, reject) => {
        worker.on('error', reject)
        worker.on('completed', () => {
          ended += 1
          if (ended === jobs) resolve()
        })
      })
      await worker.waitUntilReady()
      const begun = performance.now()
      const running = worker.run()
      await enough
      const ms = performance.now() - begun
      await worker.close()
      await running
      return { ended: jobs, ms }
    },
    async close() {
      await queue.close()
      await connection.quit()
    },
  }
}
