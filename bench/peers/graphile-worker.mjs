// graphile-worker with the settings of its page on performance: jobs are fetched by the hundred and deleted in batches.
import { EventEmitter } from 'node:events'
import pg from 'pg'

// Otherwise it makes a line for the log of every job.
process.env.NO_LOG_SUCCESS = '1'
const { Logger, makeWorkerUtils, run } = await import('graphile-worker')

export const about = {
  keeps: 'nothing: a job that succeeded is deleted, results are not stored; an end is not fenced',
  durable: 'as the server commits',
}

const BATCHES = { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }

export async function open({ postgres, list, slots }) {
  const logger = new Logger(() => () => {})
  const pgPool = new pg.Pool({ connectionString: postgres, max: BATCHES.concurrentJobs + 1, idleTimeoutMillis: 0 })
  // It asks for both.
  const warn = (error) => process.emitWarning(error)
  pgPool.on('error', warn).on('connect', (client) => client.on('error', warn))
  const utils = await makeWorkerUtils({ pgPool, logger })
  await utils.migrate()
  // One more than run at once is what it advises to start with.
  const few = { ...BATCHES, concurrentJobs: slots, localQueue: { size: slots + 1 } }

  return {
    async submit(jobs) {
      for (let stored = 0; stored < jobs; stored += list)
        await utils.addJobs(Array.from({ length: list }, () => ({ identifier: 'noop', payload: { n: 1 } })))
    },
    /** From the first look for a job until all that was run is deleted, which the end of the worker waits for. */
    async drain(jobs, way) {
      const events = new EventEmitter()
      let begun
      events.once('worker:getJob:start', () => {
        begun = performance.now()
      })
      let ended = 0
      const enough = new Promise((resolve) => {
        events.on('job:success', () => {
          ended += 1
          if (ended === jobs) resolve()
        })
      })
      const preset = { worker: way === 'batches' ? BATCHES : few }
      const taskList = { noop: async () => {} }
      const runner = await run({ preset, pgPool, logger, events, taskList, crontab: '', noHandleSignals: true })
      await enough
      await runner.stop()
      return { ended, ms: performance.now() - begun }
    },
    async close() {
      await utils.release()
      await pgPool.end()
    },
  }
}
