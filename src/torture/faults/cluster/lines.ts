// The line between a node and PostgreSQL is slow, is cut, or swallows what is sent.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, createFinding, type Fault, type Finding, rounds, until } from '../../bench.js'
import { any, type Cluster, type ClusterNode, inCluster, isReady, recovered } from '../../cluster.js'
import { auditCluster } from '../../cluster-audit.js'
import { type Line, openLine } from '../../line.js'
import { missingPostgres } from '../../postgres.js'

const ROUNDS = 9
const NODES = 3
const CLIENTS = 8
const LEASE_S = 3
const [SHORTEST_DELAY_MS, LONGEST_DELAY_MS] = [200, 2_000]
const SLOW_MS = 5_000
const CUTS = 20
const LONGEST_PAUSE_MS = 150
/** After which a node must have noticed that nothing comes through. */
const NOTICED_MS = 15_000
const RECOVERY_MS = 60_000

type Checks = ReturnType<typeof createFinding>
type Trouble = (node: ClusterNode, line: Line, checks: Checks) => Promise<void>

/** In turn. */
const TROUBLES: Trouble[] = [cutAgainAndAgain, slowDown, swallowAll]

export const badLines: Fault = {
  number: 4,
  name: `the line of one of ${NODES} nodes to PostgreSQL is cut, takes ${SHORTEST_DELAY_MS} to ${LONGEST_DELAY_MS} ms each way, or swallows all`,
  expected: `the others go on; a line on which nothing comes is noticed within ${NOTICED_MS / 1_000} s; nothing is lost or recorded twice`,
  missing: missingPostgres,
  run: (bench) => tryLines(bench, ROUNDS),
}

export async function tryLines(bench: Bench, least: number): Promise<Finding> {
  const lines: Line[] = []
  const source = async (url: string, at: number) => {
    const line = await openLine(url)
    lines[at] = line
    return line.url
  }
  try {
    return await inCluster(bench, { nodes: NODES, lease: LEASE_S, source }, (cluster) =>
      troubleLines(bench, least, cluster, lines),
    )
  } finally {
    await Promise.all(lines.map((line) => line.close()))
  }
}

async function troubleLines(bench: Bench, least: number, cluster: Cluster, lines: Line[]): Promise<Finding> {
  const checks = createFinding()
  const load = cluster.load(CLIENTS)
  let round = 0
  for (round of rounds(bench, least)) {
    const node = any(cluster.nodes)
    const line = lines[node.at] as Line
    cluster.troubled.add(node.id)
    await TROUBLES[round % TROUBLES.length]?.(node, line, checks)
    line.mend()
    await recovered(cluster, RECOVERY_MS)
  }
  await load.stop()
  const { counts, violations } = await auditCluster(cluster)
  return {
    rounds: round + 1,
    counts: { ...checks.counts, ...counts },
    violations: [...checks.violations, ...violations],
  }
}

async function cutAgainAndAgain(_: ClusterNode, line: Line, { count }: Checks): Promise<void> {
  for (let i = 0; i < CUTS; i += 1) {
    await sleep(Math.random() * LONGEST_PAUSE_MS)
    line.cut()
    count('cuts')
  }
}

async function slowDown(_: ClusterNode, line: Line, { count }: Checks): Promise<void> {
  line.delay(SHORTEST_DELAY_MS + Math.random() * (LONGEST_DELAY_MS - SHORTEST_DELAY_MS))
  await sleep(SLOW_MS)
  count('slow')
}

async function swallowAll(node: ClusterNode, line: Line, { check, count, counts }: Checks): Promise<void> {
  line.swallow()
  const begun = performance.now()
  await until('it is noticed', async () => !(await isReady(node)), 2 * NOTICED_MS)
  const noticed = Math.round(performance.now() - begun)
  check(noticed <= NOTICED_MS, `that nothing came through was noticed after ${noticed} ms`)
  count('swallowed')
  counts['noticed within (ms)'] = Math.max(noticed, counts['noticed within (ms)'] ?? 0)
}
