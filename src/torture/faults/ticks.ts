// kill −9 at the ticks of a schedule and of a digest: each tick makes one job, each event is in one mail.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bench, createFinding, type Fault, type Finding, inFolder, rounds, until } from '../bench.js'
import { type Server, start, withServer } from '../server.js'

const ROUNDS = 30
const EVERY_MS = 200
const CLIENTS = 2
/** Of one client, in one round. */
const MOST_EVENTS = 500
const PAGE = 500
/** Records of ticks that a server keeps. */
const MOST_TICKS = 1_000

const BEAT = { every: `${EVERY_MS}ms`, catch_up: 'all', max_catch_up: 500, job: { type: 'beat' } }
const DIGEST = { schedule: { every: '150ms', overlap: 'queue' }, recipients: 'ops@example.com', subject: 'torture' }
const FILES = {
  'types/beat.mjs': 'export default { retry_count: 3, run: () => ({ beats: 1 }) }',
  'config.yaml': {
    worker: { types: ['types'], max_workers: 4, poison_after: 100 },
    jobs: { export: { enabled: false }, cleanup: { enabled: false } },
    digests: { ops: DIGEST },
  },
}

/** Events by what became of them, as clients know it. */
interface Told {
  acknowledged: string[]
  unknown: string[]
}

type Checks = ReturnType<typeof createFinding>

export const killedAtTicks: Fault = {
  number: 15,
  name: `kill −9 at the ticks of a schedule (every ${EVERY_MS} ms) and of a digest`,
  expected: 'every tick makes one job, and none is missed; every event that was acknowledged is in one mail',
  missing: () => null,
  run: (bench) => tryTicks(bench, ROUNDS),
}

export function tryTicks(bench: Bench, least: number): Promise<Finding> {
  return inFolder(FILES, async (folder) => {
    const checks = createFinding()
    const told: Told = { acknowledged: [], unknown: [] }
    let round = 0
    for (round of rounds(bench, least)) await beatAndKill(bench, folder, round, told)
    await withServer(await start(bench, folder), async (server) => {
      await until('what was missed is fired', () => fired(server) > 0)
      await server.call('POST', '/schedules/beat/pause')
      await until('all was mailed', async () => (await server.call('GET', '/digests')).body.digests[0].events === 0)
      await until('all jobs have ended', async () => {
        const { queued_jobs, active_workers } = (await server.call('GET', '/workers/stats')).body
        return queued_jobs === 0 && active_workers === 0
      })
      await checkTicks(server, 'beat', EVERY_MS, checks)
      checkMails(folder, told, checks)
      await server.kill('SIGTERM')
    })
    return { rounds: round + 1, counts: checks.counts, violations: checks.violations }
  })
}

const fired = (server: Server) => server.log().filter(({ msg }) => msg === 'schedule ticks').length

/** Dies right after the first, the second or the third tick is on disk: while jobs are claimed, run, or end. */
async function beatAndKill(bench: Bench, folder: string, round: number, told: Told): Promise<void> {
  await withServer(await start(bench, folder), async (server) => {
    if (round === 0) await server.call('PUT', '/schedules/beat', BEAT)
    const clients = Array.from({ length: CLIENTS }, (_, i) => tell(server, `${round}-${i}`, told))
    // What was missed is fired before a client was served: a kill then would find no event to lose.
    const before = told.acknowledged.length
    await until('it has taken an event', () => told.acknowledged.length > before)
    const at = fired(server)
    await until('it has fired', () => fired(server) > at + (round % 3))
    await server.kill('SIGKILL')
    await Promise.all(clients)
  })
}

/** Ends when the server is gone. */
async function tell(server: Server, client: string, { acknowledged, unknown }: Told): Promise<void> {
  for (let i = 0; i < MOST_EVENTS; i += 1) {
    const text = `<${client}-${i}>`
    try {
      const { status } = await server.call('POST', '/digests/ops/events', { kind: 'beat', text })
      if (status === 202) acknowledged.push(text)
    } catch {
      unknown.push(text)
      return
    }
  }
}

/** Of a schedule whose jobs are of a type with its name. */
export async function checkTicks(
  server: Pick<Server, 'call'>,
  name: string,
  every_ms: number,
  { check, count }: Checks,
): Promise<void> {
  const { history } = (await server.call('GET', `/schedules/${name}/history?limit=${MOST_TICKS}`)).body
  const ticks: { tick_at: string; outcome: string; job_id: string }[] = history.reverse()
  const times = ticks.map(({ tick_at }) => Date.parse(tick_at))
  const gaps = times.filter((at, i) => i > 0 && at !== (times[i - 1] ?? 0) + every_ms)
  const made = ticks.filter(({ outcome }) => outcome === 'ran')
  check(gaps.length === 0, `${gaps.length} ticks have no record`)
  check(made.length === ticks.length, `${ticks.length - made.length} ticks were skipped`)
  const jobs = await jobsOf(server, name)
  const ids = new Set(jobs.map(({ id }) => id))
  const missing = made.filter(({ job_id }) => !ids.has(job_id)).length
  check(missing === 0, `${missing} ticks have a job that is not stored`)
  const known = new Set(ticks.map(({ job_id }) => job_id))
  const doubled = ticks.length < MOST_TICKS ? jobs.filter(({ id }) => !known.has(id)).length : 0
  check(doubled === 0, `${doubled} jobs belong to no tick`)
  const ended = jobs.filter(({ status }) => status === 'completed').length
  check(ended === jobs.length, `${jobs.length - ended} jobs of ticks have not completed`)
  count('ticks', ticks.length)
}

async function jobsOf(server: Pick<Server, 'call'>, type: string): Promise<{ id: string; status: string }[]> {
  const all: { id: string; status: string }[] = []
  for (let path: string | null = `/jobs?type=${type}&limit=${PAGE}`; path !== null; ) {
    const { body } = await server.call('GET', path)
    all.push(...body.jobs)
    path = body.next_cursor === null ? null : `/jobs?type=${type}&limit=${PAGE}&cursor=${body.next_cursor}`
  }
  return all
}

function checkMails(folder: string, { acknowledged, unknown }: Told, { check, count }: Checks): void {
  const outbox = join(folder, 'data/outbox')
  const mails = existsSync(outbox) ? readdirSync(outbox).filter((name) => name.endsWith('.eml')) : []
  const lines = mails.flatMap((name) => readFileSync(join(outbox, name), 'utf8').match(/<\d+-\d+-\d+>/g) ?? [])
  const mailed = new Set<string>(lines)
  const lost = acknowledged.filter((text) => !mailed.has(text)).length
  check(lost === 0, `${lost} acknowledged events are in no mail`)
  check(mailed.size === lines.length, `${lines.length - mailed.size} events are in a second mail`)
  const tried = new Set([...acknowledged, ...unknown])
  const foreign = lines.filter((text) => !tried.has(text)).length
  check(foreign === 0, `${foreign} events in mails were never acknowledged`)
  check(mails.length > 1, 'no mails to look at')
  count('events acknowledged', acknowledged.length)
  count('events unknown', unknown.length)
  count('mails', mails.length)
}
