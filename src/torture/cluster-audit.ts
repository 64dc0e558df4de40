// The checker of several nodes: that of one, and who may have taken which runs from whom.
import { audit, overtaken } from './audit.js'
import type { Finding } from './bench.js'
import { type Cluster, isAlive, recovered } from './cluster.js'
import { readWitness } from './witness.js'

interface Attempt {
  run: number
  node: string
  outcome: string | null
}

const RECOVERY_MS = 60_000
const STUCK_MS = 20_000

/** Waits until all nodes have recovered and all jobs are final, then checks every promise about them. */
export async function auditCluster(cluster: Cluster): Promise<Omit<Finding, 'rounds'>> {
  const { nodes, ledger, folder, troubled } = cluster
  const gone = nodes.filter((node) => !isAlive(node))
  if (gone.length > 0) return { counts: {}, violations: [`${gone.length} nodes ended by themselves`] }
  const trouble = await recovered(cluster, RECOVERY_MS).catch((error: Error) => error)
  if (trouble instanceof Error) return { counts: {}, violations: [trouble.message] }
  const [server] = nodes as [Cluster['nodes'][number]]
  const attemptsOf = async (id: string): Promise<Attempt[]> =>
    (await server.call('GET', `/jobs/${id}/attempts`)).body.attempts

  /** Its node lives on, and could not be told sooner that the run was taken from it. */
  async function excused(id: string, run: number): Promise<boolean> {
    const one = (await attemptsOf(id)).find((attempt) => attempt.run === run)
    return one?.outcome === 'rescue' && troubled.has(one.node) && nodes.some(({ id }) => id === one.node)
  }

  const report = await audit(server, ledger, folder, { stuck_ms: STUCK_MS, excused })
  const lines = readWitness(folder)
  const again = new Set(lines.filter(({ run }) => run > 1).map(({ id }) => id))
  const violations = [...report.violations]
  const rescued: Attempt[] = []
  for (const id of again) {
    const attempts = await attemptsOf(id)
    rescued.push(...attempts.filter(({ outcome }) => outcome === 'rescue'))
    violations.push(...wrongEnd(id, attempts, (await server.call('GET', `/jobs/${id}`)).body))
  }
  const { failed_jobs } = (await server.call('GET', '/workers/stats')).body
  if (failed_jobs > 0) violations.push(`${failed_jobs} jobs failed`)
  const taken = rescued.filter(({ node }) => !troubled.has(node)).length
  if (taken > 0) violations.push(`${taken} runs were taken from nodes that were well`)
  const counts = {
    ...report.counts,
    rescues: rescued.length,
    'late outcomes': cluster.logged('late outcome changed nothing'),
    'went on unheard': new Set(overtaken(lines).map(([{ id, run }]) => `${id} ${run}`)).size,
  }
  return { counts, violations }
}

/** What is kept is what the newest run came to. */
function wrongEnd(id: string, attempts: Attempt[], job: { status: string; result: { run?: number } | null }): string[] {
  const completed = attempts.filter(({ outcome }) => outcome === 'complete')
  if (completed.length > 1) return [`${id} completed ${completed.length} times`]
  if (job.status !== 'completed') return []
  const newest = attempts.at(-1)?.run
  if (completed[0]?.run === newest && job.result?.run === newest) return []
  return [
    `${id} is completed by run ${completed[0]?.run} with the result of run ${job.result?.run}, not by run ${newest}`,
  ]
}
