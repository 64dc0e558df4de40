// PostgreSQL dies and is started again, under load: for a moment, and for longer than a lease.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, type Fault, type Finding, rounds, until } from '../../bench.js'
import { submit } from '../../client.js'
import { any, type Cluster, inCluster } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { missingPostgres } from '../../postgres.js'

const ROUNDS = 5
const NODES = 3
const CLIENTS = 8
const LEASE_S = 3
const LONGEST_LOAD_MS = 1_000
/** In leases. */
const LONGEST_AWAY = 1.3

export const databaseRestarts: Fault = {
  number: 3,
  name: `immediate restarts of PostgreSQL under load, away for up to ${LONGEST_AWAY} leases`,
  expected:
    'nothing acknowledged is lost; running jobs go on where they are, and their outcomes are kept and sent again',
  missing: missingPostgres,
  run: (bench) => tryRestarts(bench, ROUNDS),
}

export function tryRestarts(bench: Bench, least: number): Promise<Finding> {
  return inCluster(bench, { nodes: NODES, lease: LEASE_S }, async (cluster) => {
    const load = cluster.load(CLIENTS)
    let round = 0
    for (round of rounds(bench, least)) await restart(cluster, (round % ROUNDS) / (ROUNDS - 1))
    await load.stop()
    const { counts, violations } = await auditCluster(cluster)
    const again = cluster.logged('"doing":"storing the outcome of')
    return {
      rounds: round + 1,
      counts: { restarts: round + 1, 'outcomes sent again': again, ...counts },
      violations,
    }
  })
}

/** Away for a share of the longest time, when all nodes have beaten for a lease; over when each has taken a job again. */
async function restart({ postgres, nodes, ledger, lease }: Cluster, share: number): Promise<void> {
  await sleep(lease + Math.random() * LONGEST_LOAD_MS)
  await postgres.stop('SIGQUIT')
  await sleep(share * LONGEST_AWAY * lease)
  await postgres.start()
  await until('jobs are taken again', async () => (await submit(any(nodes), ledger)).status === 202, 60_000)
  for (const node of nodes)
    await until('each node takes jobs again', async () => (await submit(node, ledger)).status === 202, 60_000)
}
