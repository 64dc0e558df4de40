// The clocks of the nodes differ: leases go by the clock of the database, and by no other.
import { type Fault, rounds } from '../../bench.js'
import { submit } from '../../client.js'
import { any, inCluster } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { missingPostgres } from '../../postgres.js'
import { shiftedClock } from '../clock.js'

const ROUNDS = 4
const SKEW_S = 30
const CLIENTS = 8
const LEASE_S = 3
/** Of each node, in each round. */
const DELAYED = 3

/** By the places of the nodes. */
const SHIFTS_MS = [0, SKEW_S, -SKEW_S].map((s) => s * 1_000)

export const skewedClocks: Fault = {
  number: 5,
  name: `clocks of three nodes ${SKEW_S} s apart, and kill −9 of one of them`,
  expected:
    'only runs of dead nodes are rescued, when their lease is over; jobs that were delayed run; none is timed out',
  missing: missingPostgres,
  run: (bench) =>
    inCluster(
      bench,
      {
        nodes: SHIFTS_MS.length,
        lease: LEASE_S,
        launch: (at, folder) => shiftedClock(folder, SHIFTS_MS[at] as number, `shift-${at}`),
      },
      async (cluster) => {
        const { nodes, ledger } = cluster
        const load = cluster.load(CLIENTS)
        let round = 0
        for (round of rounds(bench, ROUNDS)) {
          for (const node of nodes) for (let i = 0; i < DELAYED; i += 1) await submit(node, ledger, { delay: '1s' })
          await cluster.replace(any(nodes))
        }
        await load.stop()
        const { counts, violations } = await auditCluster(cluster)
        return { rounds: round + 1, counts: { kills: round + 1, ...counts }, violations }
      },
    ),
}
