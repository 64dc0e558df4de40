// Jobs that applications put in by SQL (0002_submit.sql): what the database has to know for it, and their counts.
import type { Rules } from '../../job.js'
import type { TypeDefaults } from '../store.js'
import type { Queries } from './connection.js'
import type { JobLedger } from './ledger.js'

/** Jobs that one transaction takes into the counts at the most. */
const FOLD_STEP = 50_000
/** Claims come by the hundred a second. */
const FOLD_PAUSE_MS = 1_000

/** Types that are there and not among these stay: another node may run them. */
export async function registerTypes(db: Queries, types: readonly TypeDefaults[], rules: Rules): Promise<void> {
  // In one order: nodes that start at the same time wait for each other's rows.
  const sorted = types.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const column = <K extends keyof TypeDefaults>(name: K) => sorted.map((type) => type[name])
  await db.run(
    `INSERT INTO types (name, timeout_ms, retry_count, max_payload, priority_aging)
     SELECT *, $5::bigint FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::bigint[])
     ON CONFLICT (name) DO UPDATE SET timeout_ms = excluded.timeout_ms, retry_count = excluded.retry_count,
       max_payload = excluded.max_payload, priority_aging = excluded.priority_aging`,
    [column('name'), column('timeout_ms'), column('retry_count'), column('max_payload'), rules.priority_aging],
  )
}

/** Everything here runs inside a transaction that group commit began. */
export function createOutside(db: Queries, ledger: JobLedger) {
  let next_at = Number.NEGATIVE_INFINITY

  /** Jobs that applications have committed become part of this node's counts, a piece of them. */
  async function fold(): Promise<void> {
    const groups = await db.all<Parameters<JobLedger['counted']>[0]>(
      `WITH gone AS (DELETE FROM counts_added
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM counts_added LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING *)
       SELECT status, type, count(*) AS n, sum(bytes)::bigint AS bytes FROM gone GROUP BY status, type`,
      [FOLD_STEP],
    )
    for (const group of groups) ledger.counted(group)
    const jobs = groups.reduce((sum, { n }) => sum + n, 0)
    next_at = performance.now() + (jobs < FOLD_STEP ? FOLD_PAUSE_MS : 0)
  }

  return {
    fold,
    isDue: () => performance.now() >= next_at,
  }
}
