// What the PostgreSQL server does meanwhile: statements, bytes of WAL, CPU time of all its processes.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'

/** Of one job. */
export interface Cost {
  statements: number
  wal: number
  /** NaN where there is no /proc. */
  cpu_ms: number
}

/** Linux counts in hundredths of a second. */
const TICK_MS = 10

/** For a server with pg_stat_statements. */
export async function openMeter(connectionString: string) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await client.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements')
  const { rows } = await client.query(`SELECT current_setting('data_directory') AS folder`)
  const pid = Number(readFileSync(join(rows[0].folder, 'postmaster.pid'), 'utf8').split('\n')[0])

  async function read() {
    const { rows } = await client.query(
      `SELECT (SELECT sum(calls) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%') AS statements,
        pg_current_wal_lsn() - '0/0' AS wal`,
    )
    return { statements: Number(rows[0].statements), wal: Number(rows[0].wal), cpu_ms: cpuMs(pid) }
  }

  return {
    async measure(jobs: number, work: () => Promise<unknown>): Promise<Cost> {
      const before = await read()
      await work()
      const after = await read()
      const of = (kind: keyof Cost) => (after[kind] - before[kind]) / jobs
      return { statements: of('statements'), wal: of('wal'), cpu_ms: of('cpu_ms') }
    },
    close: () => client.end(),
  }
}

/** Of the server's first process, of those that it started, and of those that it saw end. */
function cpuMs(postmaster: number): number {
  if (process.platform !== 'linux') return Number.NaN
  let ticks = 0
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const { parent, own, ended } = statOf(entry)
    if (parent === postmaster) ticks += own
    if (Number(entry) === postmaster) ticks += own + ended
  }
  return ticks * TICK_MS
}

function statOf(pid: string) {
  try {
    // The name of the command is in parentheses, and may have spaces and parentheses of its own.
    const [, rest = ''] = /.*\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    const fields = rest.split(' ').map(Number)
    const sum = (from: number, to: number) => fields.slice(from, to).reduce((a, b) => a + b, 0)
    // In user mode and in the kernel; then the same of processes that it saw end.
    return { parent: fields[1], own: sum(11, 13), ended: sum(13, 15) }
  } catch {
    // It ended meanwhile.
    return { parent: 0, own: 0, ended: 0 }
  }
}
