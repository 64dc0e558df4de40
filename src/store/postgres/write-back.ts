// The statements that write jobs back, many in one, each guarded by what its row was.
import type { Job } from '../../job.js'
import { MUTABLE, stored } from '../job-row.js'

export interface Change<J extends Job = Job> {
  before: J
  after: J
}

const TYPES: Partial<Record<keyof Job, string>> = {
  progress: 'integer',
  priority: 'integer',
  attempt: 'integer',
  max_attempts: 'integer',
  run: 'integer',
  interruptions: 'integer',
  slot: 'integer',
}
const NUMBERS: readonly (keyof Job)[] = [
  ...(['created_at', 'updated_at', 'run_at', 'start_by', 'started_at', 'finished_at', 'rank', 'timeout_ms'] as const),
  ...(['cancel_requested_at', 'payload_bytes', 'bytes'] as const),
]
const typeOf = (name: keyof Job) => TYPES[name] ?? (NUMBERS.includes(name) ? 'bigint' : 'text')

/** `$first::type[], …`, one array a column. */
export const arrays = (names: readonly (keyof Job)[], first: number) =>
  names.map((name, i) => `$${first + i}::${typeOf(name)}[]`).join(', ')

type Columns = readonly (typeof MUTABLE)[number][]

/**
 * Guarded by all that another node may have changed meanwhile. $1 to $4 are what they were, then comes an array for each of
 * `each`, then one value for each of `same`, which all of them have.
 */
const write = (each: Columns, same: Columns = []) => `UPDATE jobs SET ${[
  ...each.map((name) => `${name} = new.${name}`),
  ...same.map((name, i) => `${name} = $${5 + each.length + i}::${typeOf(name)}`),
]}
  FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[], ${arrays(each, 5)})
    AS new (id, was, was_run, was_cancelled, ${each})
  WHERE jobs.id = new.id AND jobs.status = new.was AND jobs.run = new.was_run
    AND jobs.cancel_requested_at IS NOT DISTINCT FROM new.was_cancelled
  RETURNING jobs.id`
/**
 * `value` where `condition` holds. Otherwise the statement fails, and with it its transaction: what is no integer cannot
 * become one. The server's log tells so. (`of` is known for each row only: a constant would be looked at beforehand.)
 */
export const expect = (condition: string, of: string, value = '1') =>
  `CASE WHEN ${condition} THEN ${value} ELSE ('jobmill goes on step by step: ' || ${of})::integer END`

/** What the step `complete` changes; every other step may change anything. */
const COMPLETED = {
  each: ['updated_at', 'finished_at', 'result', 'artifacts', 'bytes'],
  same: ['status', 'progress', 'reason', 'reason_detail', 'error'],
} as const satisfies Record<string, Columns>
const [MOVE, COMPLETE] = [write(MUTABLE), write(COMPLETED.each, COMPLETED.same)]

/** Writes those that still are as they were, and answers the ids of those. */
export function writeBack(changes: readonly Change[]): [text: string, values: unknown[]] {
  if (changes.every(({ after }) => after.status === 'completed')) return [COMPLETE, completed(changes)]
  return [MOVE, [...were(changes), ...each(changes, MUTABLE)]]
}

const completed = (changes: readonly Change[]): unknown[] => {
  const first = changes[0]?.after as Job
  return [...were(changes), ...each(changes, COMPLETED.each), ...COMPLETED.same.map((name) => stored(first, name))]
}

const were = (changes: readonly Change[]): unknown[] => [
  changes.map(({ before }) => before.id),
  changes.map(({ before }) => before.status),
  changes.map(({ before }) => before.run),
  column(changes, ({ before }) => before.cancel_requested_at),
]

const each = (changes: readonly Change[], names: Columns): unknown[] =>
  names.map((name) => column(changes, ({ after }) => stored(after, name)))

/**
 * What belongs to those that were written. Asked once they are: whoever came to wait for one while it was locked is seen.
 * Most jobs have none of it, and writes of other tables cost, though they find nothing.
 */
export const BESIDE = `SELECT DISTINCT 'awaited' AS what, on_id AS id FROM dependencies WHERE on_id = ANY($1::text[]) AND open
  UNION ALL SELECT 'key', id FROM keys WHERE id = ANY($1::text[]) AND kind = 'unique'
  UNION ALL SELECT 'checkpoint', id FROM checkpoints WHERE id = ANY($1::text[])`

/** Where there is none at all, an empty array: unnest() fills up with NULL. */
export function column<T>(items: readonly T[], of: (item: T) => string | number | null): (string | number | null)[] {
  const values = items.map(of)
  return values.some((value) => value !== null) ? values : []
}

const EXPECTED_ALL = `WITH written AS (${COMPLETE})
  SELECT ${expect('count(*) = cardinality($1::text[])', 'count(*)')} FROM written`
const EXPECTED_NONE = `SELECT ${expect('beside IS NULL', 'beside')} FROM (SELECT min(id) AS beside FROM (${BESIDE}) AS own) AS own`

/** The same for jobs of which all are expected to be as they were, and to have nothing beside: otherwise a statement fails. */
export const completeAll = (changes: readonly Change[]): [text: string, values: unknown[]][] => [
  [EXPECTED_ALL, completed(changes)],
  [EXPECTED_NONE, [changes.map(({ after }) => after.id)]],
]
