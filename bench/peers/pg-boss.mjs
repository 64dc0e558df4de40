// pg-boss by fetch() and complete(), which its own worker uses, too, but with pauses of half a second and more between.
import { PgBoss } from 'pg-boss'

export const about = {
  keeps: 'job and result for 7 days; no record of single attempts; an end is fenced by the number of the retry',
  durable: 'as the server commits',
}

const QUEUE = 'noop'
/** Two batches under way were faster than one; with few slots one batch of all was the fastest. */
const LOOPS = { batches: 2, slots: 1 }

export async function open({ postgres, list, batch, slots }) {
  // Its upkeep is left out: it would only take time from the measurement.
  const boss = new PgBoss({ connectionString: postgres, supervise: false, schedule: false })
  boss.on('error', (error) => process.emitWarning(error))
  await boss.start()
  await boss.createQueue(QUEUE)

  async function endAll(jobs, way) {
    const batchSize = way === 'batches' ? batch : slots
    let ended = 0
    async function loop() {
      while (ended < jobs) {
        const taken = await boss.fetch(QUEUE, { batchSize })
        if (taken.length === 0) return
        const { affected } = await boss.complete(QUEUE, taken)
        if (affected !== taken.length) throw new Error(`pg-boss completed ${affected} of ${taken.length}`)
        ended += affected
      }
    }
    await Promise.all(Array.from({ length: LOOPS[way] }, loop))
    return ended
  }

  return {
    async submit(jobs) {
      for (let stored = 0; stored < jobs; stored += list)
        await boss.insert(
          QUEUE,
          Array.from({ length: list }, () => ({ data: { n: 1 } })),
        )
    },
    async drain(jobs, way) {
      const begun = performance.now()
      const ended = await endAll(jobs, way)
      return { ended, ms: performance.now() - begun }
    },
    close: () => boss.stop({ graceful: false }),
  }
}
