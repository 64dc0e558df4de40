// Nodes die: by kill −9 under load, at random moments, again and again, while others go on.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, type Fault, type Finding, rounds } from '../../bench.js'
import { any, inCluster } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { missingPostgres } from '../../postgres.js'

const ROUNDS = 10
const NODES = 3
const CLIENTS = 8
const LEASE_S = 3
/** Between a start and the next kill. */
const LONGEST_LOAD_MS = 600

export const killedNodes: Fault = {
  number: 1,
  name: `kill −9 of one of ${NODES} nodes under load, started again at once`,
  expected: 'what was acknowledged ends once; the others run again what the dead one ran, when its lease is over',
  missing: missingPostgres,
  run: (bench) => tryKills(bench, ROUNDS),
}

export function tryKills(bench: Bench, least: number): Promise<Finding> {
  return inCluster(bench, { nodes: NODES, lease: LEASE_S }, async (cluster) => {
    const load = cluster.load(CLIENTS)
    let round = 0
    for (round of rounds(bench, least)) {
      await sleep(Math.random() * LONGEST_LOAD_MS)
      await cluster.replace(any(cluster.nodes))
    }
    await load.stop()
    const { counts, violations } = await auditCluster(cluster)
    return { rounds: round + 1, counts: { kills: round + 1, ...counts }, violations }
  })
}
