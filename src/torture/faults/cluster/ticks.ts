// Nodes that fire the same ticks at the same moment: each tick makes one job, whichever node is first.
import { type Bench, createFinding, type Fault, type Finding, until } from '../../bench.js'
import { type Cluster, type ClusterNode, inCluster } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { missingPostgres } from '../../postgres.js'
import { checkTicks } from '../ticks.js'

const NODES = 2
const LEASE_S = 5
const SCHEDULES = 10
const EVERY_MS = 100
const TICKS = 1_000
/** Until the first one is due: all schedules are there by then. */
const START_MS = 2_000
const SLOWEST_MS = 300_000

const NAMES = Array.from({ length: SCHEDULES }, (_, i) => `beat_${i}`)
const BEAT = 'export default { retry_count: 3, run: () => ({ beats: 1 }) }'

export const racedTicks: Fault = {
  number: 6,
  name: `${NODES} nodes fire the same ${TICKS.toLocaleString('en')} ticks of ${SCHEDULES} schedules, every ${EVERY_MS} ms`,
  expected: 'each tick is recorded once and makes one job, none is missed',
  missing: missingPostgres,
  run: tryRacedTicks,
}

function tryRacedTicks(bench: Bench): Promise<Finding> {
  const types = Object.fromEntries(NAMES.map((name) => [name, BEAT]))
  return inCluster(bench, { nodes: NODES, lease: LEASE_S, types }, async (cluster) => {
    const [here] = cluster.nodes as [ClusterNode]
    const checks = createFinding()
    const begin = Date.now() + START_MS
    const [start_at, end_at] = [begin, begin + (TICKS / SCHEDULES) * EVERY_MS].map((at) => new Date(at).toISOString())
    for (const name of NAMES) {
      const schedule = {
        every: `${EVERY_MS}ms`,
        start_at,
        end_at,
        catch_up: 'all',
        max_catch_up: 500,
        job: { type: name },
      }
      await here.call('PUT', `/schedules/${name}`, schedule)
    }
    await until('all ticks are fired', async () => (await fired(here)) >= TICKS, SLOWEST_MS)
    const { counts, violations } = await auditCluster(cluster)
    for (const name of NAMES) await checkTicks(here, name, EVERY_MS, checks)
    checks.check(checks.counts.ticks === TICKS, `${checks.counts.ticks} of ${TICKS} ticks are recorded`)
    checkShares(cluster, checks)
    return { rounds: 1, counts: { ...checks.counts, ...counts }, violations: [...checks.violations, ...violations] }
  })
}

/** Each makes a job. */
async function fired(node: ClusterNode): Promise<number> {
  const { jobs_by_status } = (await node.call('GET', '/workers/stats')).body
  return Object.values<number>(jobs_by_status).reduce((sum, n) => sum + n, 0)
}

/** Where one node fires all, nothing was tried. */
function checkShares({ nodes }: Cluster, { check, count }: ReturnType<typeof createFinding>): void {
  for (const node of nodes) {
    const n = node.log().filter(({ msg }) => msg === 'schedule ticks').length
    check(n > 0, `node ${node.at} fired nothing`)
    count(`transactions of node ${node.at + 1}`, n)
  }
}
