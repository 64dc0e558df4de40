// Handlers that do everything wrong, each beside jobs that do everything right.

import { audit } from '../audit.js'
import { type Bench, createFinding, type Fault, inFolder, until, within } from '../bench.js'
import { createLedger, submit } from '../client.js'
import { type Server, start, startOrEnd, withServer } from '../server.js'
import { noteCrash, witnessed, witnessFolder } from '../witness.js'

interface Misdeed {
  /** The body of `run(payload, ctx)`. */
  run: string
  /** The code of its error, or `completed`. */
  ends: string
  /** How many of them run at the same time. */
  jobs?: number
  job?: object
}

const once = { retry_count: 0 }

/** A job of each, and how it must end. */
const MISDEEDS: Record<string, Misdeed> = {
  throws: { run: `throw new Error('no luck')`, ends: 'handler_error', job: once },
  rejects_late: {
    run: `setTimeout(() => Promise.reject(new Error('late')), 5); return 'done'`,
    ends: 'completed',
    jobs: 5,
    job: once,
  },
  throws_aside: {
    run: `setTimeout(() => { throw new Error('aside') }, 5); return new Promise(() => {})`,
    ends: 'handler_error',
    job: once,
  },
  exits: { run: 'process.exit(0)', ends: 'thread_died', job: once },
  endless_loop: { run: 'for (;;);', ends: 'timeout', job: { ...once, timeout: '500ms' } },
  out_of_memory: {
    run: `const all = []; for (;;) all.push(Array.from({ length: 1e5 }, Math.random))`,
    ends: 'out_of_memory',
    job: once,
  },
  result_of_200_mb: { run: `return 'x'.repeat(200_000_000)`, ends: 'result_too_large' },
  bigint_result: { run: 'return { n: 10n }', ends: 'result_not_serialisable' },
  circular_result: { run: 'const a = {}; a.a = a; return a', ends: 'result_not_serialisable' },
  floods_progress: {
    run: `for (let i = 0; i < 300_000; i += 1) void ctx.progress(i / 3_000, 'step ' + i); return 'done'`,
    ends: 'completed',
  },
  floods_logs: { run: `for (let i = 0; i < 300_000; i += 1) ctx.log('line ' + i); return 'done'`, ends: 'completed' },
  native_call: {
    run: `(await import('node:child_process')).execSync('sleep 3'); return 'done'`,
    ends: 'timeout',
    job: { ...once, timeout: '500ms' },
  },
}

/** Takes the process with it, as a crash in native code does: the others run again, it ends as poison. */
const KILLS = `process.kill(process.pid, 'SIGKILL'); for (;;);`
const POISON_AFTER = 3

const typeOf = (run: string) => `export default { timeout: '20s', async run(payload, ctx) { ${run} } }`

export const badHandlers: Fault = {
  number: 7,
  name: `handlers: ${Object.keys(MISDEEDS).join(', ')}, kills_the_process`.replaceAll('_', ' '),
  expected:
    'each fails with its own code, within its limits, and harms no other job; the process is killed thrice, then the cause is failed',
  missing: () => null,
  run: (bench) => {
    const types = Object.entries({
      ...Object.fromEntries(Object.entries(MISDEEDS).map(([name, { run }]) => [name, run])),
      kills: KILLS,
    })
    const settings = {
      worker: { cancel_grace: 1, poison_after: POISON_AFTER, resource_limits: { max_old_generation_mb: 64 } },
    }
    const files = witnessFolder(settings, Object.fromEntries(types.map(([name, run]) => [name, typeOf(run)])))
    return inFolder(files, (folder) => misbehave(bench, folder))
  },
}

async function misbehave(bench: Bench, folder: string) {
  const checks = createFinding()
  const { check, count, counts, violations } = checks
  const ledger = createLedger()
  const env = witnessed(folder)
  await withServer(await start(bench, folder, { env }), async (server) => {
    for (const name of Object.keys(MISDEEDS)) await beside(server, name, ledger, checks)
    for (let i = 0; i < 3; i += 1) await submit(server, ledger, { rounds: 2_000 })
    // The answer may die with the process.
    await server.call('POST', '/jobs', { type: 'kills', priority: 1 }).catch(() => null)
    await within('the job has killed the server', server.exit)
    noteCrash(folder)
    count('process killed by a job')
  })
  for (let crashes = 1; crashes < POISON_AFTER; crashes += 1) {
    const server = await startOrEnd(bench, folder, { env })
    if (server !== null) await withServer(server, () => within('the job has killed the server', server.exit))
    noteCrash(folder)
    count('process killed by a job')
  }
  return withServer(await start(bench, folder, { env }), async (server) => {
    const report = await audit(server, ledger, folder)
    const [killer] = (await server.call('GET', '/jobs?type=kills')).body.jobs
    check(killer?.reason === 'poison', `the job that kills the process is ${killer?.status} (${killer?.reason})`)
    check(await allCompleted(server, ledger), 'a witness beside bad handlers was not completed')
    const rounds = Object.keys(MISDEEDS).length + 1
    return { rounds, counts: { ...counts, ...report.counts }, violations: [...violations, ...report.violations] }
  })
}

async function beside(
  server: Server,
  name: string,
  ledger: ReturnType<typeof createLedger>,
  { check, count }: ReturnType<typeof createFinding>,
): Promise<void> {
  const { ends, job = {}, jobs = 1 } = MISDEEDS[name] as Misdeed
  for (let i = 0; i < 3; i += 1) await submit(server, ledger, { rounds: 50 })
  for (let i = 0; i < jobs; i += 1) {
    const { body } = await server.call('POST', '/jobs', { type: name, ...job })
    await submit(server, ledger, { rounds: 50 })
    const ended = await until(`${name} ends`, async () => {
      const { body: now } = await server.call('GET', `/jobs/${body.id}`)
      return ['completed', 'failed', 'cancelled'].includes(now.status) && now
    })
    const how = ended.error?.code ?? ended.status
    check(how === ends, `${name} ended as ${how}, not as ${ends}`)
    check(ended.attempt === 1, `${name} had ${ended.attempt} attempts`)
    count('misdeeds')
  }
}

async function allCompleted(server: Server, { acknowledged }: ReturnType<typeof createLedger>): Promise<boolean> {
  for (const id of acknowledged.values()) {
    const { body } = await server.call('GET', `/jobs/${id}`)
    if (body.status !== 'completed' || body.attempt !== 1) return false
  }
  return true
}
