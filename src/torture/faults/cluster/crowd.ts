// Many nodes that claim from one queue, as fast as they can.
import { type Bench, createFinding, type Fault, type Finding } from '../../bench.js'
import { submit } from '../../client.js'
import { type Cluster, type ClusterNode, inCluster } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { missingPostgres } from '../../postgres.js'
import { readWitness } from '../../witness.js'

const NODES = 10
const JOBS = 10_000
const CLIENTS = 40
/** No node dies here, however busy the machine is. */
const LEASE_S = 60

export const crowd: Fault = {
  number: 7,
  name: `${NODES} nodes run ${JOBS.toLocaleString('en')} jobs of one queue`,
  expected: 'each job is run once',
  missing: missingPostgres,
  run: (bench) => tryCrowd(bench, JOBS),
}

export function tryCrowd(bench: Bench, jobs: number): Promise<Finding> {
  const settings = { worker: { max_workers: 2, queue_size: jobs } }
  return inCluster(bench, { nodes: NODES, lease: LEASE_S, settings }, async (cluster) => {
    const { check, violations } = createFinding()
    await fill(cluster, jobs)
    const report = await auditCluster(cluster)
    const begun = readWitness(cluster.folder).filter(({ what }) => what === 'begin')
    check(begun.length === jobs, `${jobs} jobs began ${begun.length} times`)
    check(
      begun.every(({ run }) => run === 1),
      'jobs were run again',
    )
    return { rounds: 1, counts: report.counts, violations: [...violations, ...report.violations] }
  })
}

/** All nodes take jobs, and run them meanwhile. */
async function fill({ nodes, ledger }: Cluster, jobs: number): Promise<void> {
  async function client(first: number): Promise<void> {
    for (let at = first; ledger.acknowledged.size + ledger.refused.size < jobs; at += 1)
      await submit(nodes[at % nodes.length] as ClusterNode, ledger, { rounds: 1 })
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)))
}
