// The checker: holds what clients were told and what handlers did against what the server says in the end.
import { until } from './bench.js'
import type { Ledger } from './client.js'
import type { Server } from './server.js'
import { type Line, readWitness } from './witness.js'

export interface Audit {
  violations: string[]
  counts: { acknowledged: number; refused: number; unknown: number; stored: number; interrupted: number }
}

interface StoredJob {
  id: string
  type: string
  status: string
}

export interface AuditOptions {
  /** What may pass without any job ending before they are taken for stuck. */
  stuck_ms?: number
  /** Whether this run may have gone on after a newer one of its job had begun. */
  excused?(id: string, run: number): Promise<boolean>
}

const FINAL = ['completed', 'failed', 'cancelled']
const nobody = async () => false

/** Waits until all jobs are final, then checks every promise about them. */
export async function audit(
  server: Server,
  ledger: Ledger,
  folder: string,
  { stuck_ms = 60_000, excused = nobody }: AuditOptions = {},
): Promise<Audit> {
  const violations: string[] = []
  if (!(await drained(server, stuck_ms))) violations.push(`jobs are stuck: nothing ended for ${stuck_ms / 1_000} s`)
  const jobs = await allJobs(server)
  const lines = readWitness(folder)
  violations.push(
    ...lost(ledger, jobs),
    ...(await refusedButStored(server, ledger, jobs, lines)),
    ...notFinal(jobs),
    ...(await endedTwice(server, jobs)),
    ...begunTwice(lines),
    ...(await overlaps(lines, excused)),
    ...withoutEffect(jobs, lines),
  )
  const runs = new Map(lines.map(({ id, run }) => [id, run]))
  const interrupted = [...runs.values()].filter((run) => run > 1).length
  const { acknowledged, refused, unknown } = ledger
  const counts = {
    acknowledged: acknowledged.size,
    refused: refused.size,
    unknown: unknown.size,
    stored: jobs.size,
    interrupted,
  }
  return { violations, counts }
}

async function drained(server: Server, stuck_ms: number): Promise<boolean> {
  let before = ''
  let since = performance.now()
  return until(
    'the queue is empty',
    async () => {
      const { queued_jobs, active_workers, ...ever } = (await server.call('GET', '/workers/stats')).body
      const waiting = (await server.call('GET', '/jobs?status=scheduled,retrying&limit=1')).body.jobs.length
      if (queued_jobs + active_workers + waiting === 0) return 'yes'
      const now = JSON.stringify([queued_jobs, ever.completed_jobs, ever.failed_jobs])
      if (now !== before) since = performance.now()
      before = now
      return performance.now() - since > stuck_ms && 'stuck'
    },
    600_000,
  ).then((answer) => answer === 'yes')
}

async function allJobs(server: Server): Promise<Map<string, StoredJob>> {
  const jobs = new Map<string, StoredJob>()
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? '' : `&cursor=${cursor}`
    const { body } = await server.call('GET', `/jobs?limit=500${query}`)
    for (const job of body.jobs) jobs.set(job.id, job)
    cursor = body.next_cursor
  } while (cursor !== null)
  return jobs
}

/** What was acknowledged is stored. */
function lost({ acknowledged }: Ledger, jobs: Map<string, StoredJob>): string[] {
  const missing = [...acknowledged.values()].filter((id) => !jobs.has(id))
  return missing.length === 0 ? [] : [`${missing.length} acknowledged jobs are lost, such as ${missing[0]}`]
}

/** What was refused is not. Only witnesses have tokens. */
async function refusedButStored(
  server: Server,
  ledger: Ledger,
  jobs: Map<string, StoredJob>,
  lines: Line[],
): Promise<string[]> {
  if (ledger.refused.size === 0) return []
  const tokens = new Map(lines.map(({ id, token }) => [id, token]))
  for (const [token, id] of ledger.acknowledged) tokens.set(id, token)
  const found: string[] = []
  for (const { id, type } of jobs.values()) {
    if (type !== 'witness') continue
    const token = tokens.get(id) ?? (await server.call('GET', `/jobs/${id}`)).body.payload.token
    if (ledger.refused.has(token)) found.push(id)
  }
  return found.length === 0 ? [] : [`${found.length} refused jobs are stored, such as ${found[0]}`]
}

function notFinal(jobs: Map<string, StoredJob>): string[] {
  const open = [...jobs.values()].filter(({ status }) => !FINAL.includes(status))
  return open.length === 0 ? [] : [`${open.length} jobs never end, such as ${open[0]?.id} (${open[0]?.status})`]
}

/** Totals count every end: without reruns and deletions there are as many as jobs. */
async function endedTwice(server: Server, jobs: Map<string, StoredJob>): Promise<string[]> {
  const { completed_jobs, failed_jobs } = (await server.call('GET', '/workers/stats')).body
  const of = (status: string) => [...jobs.values()].filter((job) => job.status === status).length
  const told = { completed: completed_jobs, failed: failed_jobs }
  return Object.entries(told).flatMap(([status, n]) =>
    n === of(status) ? [] : [`${of(status)} jobs are ${status}, but ${n} ended so`],
  )
}

function begunTwice(lines: Line[]): string[] {
  const begun = new Set<string>()
  return lines.flatMap(({ what, id, run }) => {
    if (what !== 'begin') return []
    const twice = begun.has(`${id} ${run}`)
    begun.add(`${id} ${run}`)
    return twice ? [`run ${run} of ${id} began twice`] : []
  })
}

/** An older run must not do anything once a newer one of the same job has begun. */
async function overlaps(lines: Line[], excused: NonNullable<AuditOptions['excused']>): Promise<string[]> {
  const found: string[] = []
  for (const [{ id, run }, newer] of overtaken(lines))
    if (!(await excused(id, run))) found.push(`run ${run} of ${id} went on after run ${newer} had begun`)
  return found
}

/** What runs did after a newer one of their job had begun, and which that was. */
export function overtaken(lines: Line[]): [Line, number][] {
  const latest = new Map<string, number>()
  return lines.flatMap((line): [Line, number][] => {
    const newest = Math.max(line.run, latest.get(line.id) ?? 0)
    latest.set(line.id, newest)
    return line.run < newest ? [[line, newest]] : []
  })
}

function withoutEffect(jobs: Map<string, StoredJob>, lines: Line[]): string[] {
  const done = new Set(lines.filter(({ what }) => what === 'end').map(({ id }) => id))
  const completed = [...jobs.values()].filter(({ type, status }) => type === 'witness' && status === 'completed')
  const empty = completed.filter(({ id }) => !done.has(id))
  return empty.length === 0 ? [] : [`${empty.length} completed jobs did nothing, such as ${empty[0]?.id}`]
}
