// A node stops for longer than its lease, as a machine that swaps or is suspended does, and then goes on.
import { type Bench, createFinding, type Fault, type Finding, rounds, until } from '../../bench.js'
import { type Cluster, type ClusterNode, inCluster } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { missingPostgres } from '../../postgres.js'
import { readWitness } from '../../witness.js'

const ROUNDS = 4
const NODES = 3
const CLIENTS = 8
const LEASE_S = 3
/** Until the lease is over, and what a busy machine adds. */
const RESCUE_MS = 60_000
/** What a node that goes on may take until the runs that it lost are told to stop. */
const LONGEST_MS = 15_000

const LATE = 'late outcome changed nothing'

/** Runs until it is told to stop, and writes that down. */
const HELD = `import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
export default { timeout: '20m', async run(_, ctx) {
  const note = (what) => appendFileSync(process.env.TORTURE_WITNESS, [what, ctx.id, ctx.run, 'held'].join(' ') + '\\n')
  const awake = setInterval(() => {}, 1000)
  note('begin')
  await once(ctx.signal, 'abort')
  note('end')
  clearInterval(awake)
} }`

type Checks = ReturnType<typeof createFinding>

export const stoppedNodes: Fault = {
  number: 2,
  name: `SIGSTOP of one of ${NODES} nodes beyond its lease, then SIGCONT`,
  expected: 'its runs are rescued by the others; when it goes on, what it still tells of them changes nothing',
  missing: () => (process.platform === 'win32' ? 'needs signals' : missingPostgres()),
  run: (bench) => tryStops(bench, ROUNDS),
}

export function tryStops(bench: Bench, least: number): Promise<Finding> {
  return inCluster(bench, { nodes: NODES, lease: LEASE_S, types: { held: HELD } }, async (cluster) => {
    const checks = createFinding()
    const ids: string[] = []
    for (const node of cluster.nodes) {
      const { body } = await node.call('POST', '/jobs', { type: 'held', priority: 1 })
      ids.push(body.id)
    }
    const load = cluster.load(CLIENTS)
    let round = 0
    for (round of rounds(bench, least)) await stopOne(cluster, ids, checks)
    await load.stop()
    for (const id of ids) await cluster.nodes[0]?.call('POST', `/jobs/${id}/cancel`)
    const { counts, violations } = await auditCluster(cluster)
    return {
      rounds: round + 1,
      counts: { ...checks.counts, ...counts },
      violations: [...checks.violations, ...violations],
    }
  })
}

interface HeldJob {
  id: string
  status: string
  worker: { node: string } | null
}

/** One that holds a job; it goes on when another one has it. */
async function stopOne(cluster: Cluster, ids: readonly string[], { check, count }: Checks): Promise<void> {
  const { nodes, folder, troubled } = cluster
  const jobs = await until('all are held', async () => {
    const found = await Promise.all(ids.map((id) => jobOn(nodes[0] as ClusterNode, id)))
    const begun = readWitness(folder).filter(({ what, token }) => what === 'begin' && token === 'held')
    return found.every(({ id, status }) => status === 'processing' && begun.some((line) => line.id === id)) && found
  })
  const holders = nodes.filter(({ id }) => jobs.some(({ worker }) => worker?.node === id))
  const node = holders[Math.floor(holders.length * Math.random())] as ClusterNode
  const other = nodes.find(({ id }) => id !== node.id) as ClusterNode
  const lost = jobs.filter(({ worker }) => worker?.node === node.id)
  const runs = readWitness(folder).filter(({ what }) => what === 'begin')
  troubled.add(node.id)
  node.child.kill('SIGSTOP')
  try {
    for (const { id } of lost)
      await until(
        'another node runs what it ran',
        async () => {
          const { status, worker } = await jobOn(other, id)
          return status === 'processing' && worker?.node !== node.id
        },
        RESCUE_MS,
      )
  } finally {
    node.child.kill('SIGCONT')
  }
  count('stops')
  for (const { id } of lost) {
    const run = Math.max(...runs.filter((line) => line.id === id).map((line) => line.run))
    const told = () => readWitness(folder).some((line) => line.what === 'end' && line.id === id && line.run === run)
    const inTime = await until('it is told', told, LONGEST_MS).catch(() => false)
    check(inTime, `run ${run} of ${id} was not told within ${LONGEST_MS / 1_000} s that another one goes on`)
    check(
      await outcomeIsLate(node, id, run),
      `run ${run} of ${id} was taken from its node, and ended the job all the same`,
    )
    count('told that they were taken')
  }
}

/** What the node tells of that run has come, and the job goes on elsewhere. */
async function outcomeIsLate(node: ClusterNode, id: string, run: number): Promise<boolean> {
  const late = () => node.log().some((line) => line.msg === LATE && line.id === id && line.run === run)
  const isHeld = async () => (await jobOn(node, id)).status === 'processing'
  await until('its outcome has come', async () => late() || !(await isHeld()), LONGEST_MS)
  return isHeld()
}

async function jobOn(node: ClusterNode, id: string): Promise<HeldJob> {
  return (await node.call('GET', `/jobs/${id}`)).body
}
