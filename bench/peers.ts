// jobmill's PostgreSQL store beside pg-boss, graphile-worker and BullMQ: in turns, in one process, on one server.
import pg from 'pg'
import { missingPostgres, startPostgres } from '../src/torture/postgres.js'
import { type Contender, install, openBullmq, openJobmill, openPeer } from './contenders.js'
import { print, spread } from './figures.js'
import { inFolder } from './processes.js'
import { BATCH, LIST, SLOTS, type Way } from './store-jobs.js'

const JOBS = 20_000
/** With few slots a job takes longer. */
const SLOT_JOBS = 8_000
const WAITING = 200_000

export async function peers(rounds: number): Promise<void> {
  const missing = missingPostgres()
  if (missing !== null) return print('beside other libraries', `skipped: ${missing}`, '')
  const server = await startPostgres()
  try {
    process.stdout.write(`\n${await settingsOf(server.url)}; all libraries in this process\n`)
    await inFolder(async (folder) => {
      const contenders = await openAll(server.url, folder)
      try {
        await compare(contenders, rounds, 'none waiting')
        for (const contender of contenders) await contender.submit(WAITING)
        await compare(contenders, rounds, `${WAITING} waiting`)
      } finally {
        for (const contender of contenders) await contender.close()
      }
    })
  } finally {
    await server.remove()
  }
}

/** Those that there are; of the others it is told why not. */
async function openAll(postgres: string, folder: string): Promise<Contender[]> {
  const contenders = [await openJobmill(postgres)]
  const missing = install()
  const others: Record<string, () => Promise<Contender>> = {
    'pg-boss': () => openPeer('pg-boss', postgres),
    'graphile-worker': () => openPeer('graphile-worker', postgres),
    'bullmq, everysec': () => openBullmq('everysec', folder),
    'bullmq, always': () => openBullmq('always', folder),
  }
  for (const [name, open] of Object.entries(others)) {
    try {
      if (missing !== null) throw new Error(missing)
      contenders.push(await open())
    } catch (error) {
      process.stdout.write(`${name}: skipped: ${error instanceof Error ? error.message : error}\n`)
    }
  }
  for (const { name, about } of contenders)
    process.stdout.write(`${name}: ${about.says}\n  on disk: ${about.durable}\n  keeps: ${about.keeps}\n`)
  return contenders
}

/** Each figure of a round is measured of all of them, one after the other; who begins changes. */
async function compare(contenders: readonly Contender[], rounds: number, state: string): Promise<void> {
  const none = () => new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  const figures = new Map(Object.keys(MEASURES).map((what) => [what, none()]))
  for (let round = 0; round <= rounds; round += 1) {
    const turn = round % contenders.length
    const order = [...contenders.slice(turn), ...contenders.slice(0, turn)]
    for (const [what, measure] of Object.entries(MEASURES)) {
      for (const contender of order) {
        const rate = await measure(contender)
        // The first round warms all of them up.
        if (round > 0) figures.get(what)?.get(contender.name)?.push(rate)
      }
    }
  }
  for (const [what, rates] of figures) {
    process.stdout.write(`\n${`${what}, ${state}`.padEnd(46)} jobs/s; jobmill as a multiple\n`)
    const ours = rates.get('jobmill') ?? []
    for (const [name, theirs] of rates) {
      const ratios = ours.map((rate, i) => rate / (theirs[i] as number))
      print(`  ${name}`, spread(theirs), name === 'jobmill' ? '' : `; ${spread(ratios, 2)}`)
    }
  }
}

const MEASURES: Record<string, (contender: Contender) => Promise<number>> = {
  [`submit in lists of ${LIST}`]: async (contender) => {
    const begun = performance.now()
    await contender.submit(JOBS)
    return (JOBS * 1_000) / (performance.now() - begun)
  },
  [`drain in batches of ${BATCH}`]: (contender) => drained(contender, JOBS, 'batches'),
  [`drain with ${SLOTS} slots`]: async (contender) => {
    await contender.submit(SLOT_JOBS)
    return drained(contender, SLOT_JOBS, 'slots')
  },
}

async function drained(contender: Contender, jobs: number, way: Way): Promise<number> {
  const { ended, ms } = await contender.drain(jobs, way)
  if (ended < jobs) throw new Error(`${contender.name} ended ${ended} of ${jobs} jobs`)
  return (ended * 1_000) / ms
}

async function settingsOf(connectionString: string): Promise<string> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const settings: string[] = []
  for (const name of ['server_version', 'fsync', 'synchronous_commit', 'full_page_writes']) {
    const { rows } = await client.query(`SELECT current_setting('${name}') AS value`)
    settings.push(`${name} ${rows[0].value}`)
  }
  await client.end()
  return `PostgreSQL: ${settings.join(', ')}`
}
