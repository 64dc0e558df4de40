// Rows of jobmill's own jobs, read through the main thread.
import type { JobContext, JobPageFilter, JobRecord } from '../../src/define-job.js'
import { InvalidPayloadError } from '../../src/define-job.js'
import { type Cell, chosenColumns, type Rows, type Scalar, type Selection, spanOf } from './selection.js'

/** What a job has beside nested values; those are taken apart, and payload and result only where `columns` names them. */
const PLAIN = [
  ...['id', 'type', 'status', 'progress', 'created_at', 'updated_at', 'progress_note', 'reason', 'reason_detail'],
  ...['started_at', 'finished_at', 'run_at', 'priority', 'attempt', 'max_attempts', 'interruptions', 'timeout_ms'],
  'cancel_requested_at',
]
const DEFAULT = [...PLAIN, 'error_code', 'error_message', 'node', 'slot']
const COLUMNS = [...DEFAULT, 'payload', 'result']
const STATUSES = [
  'waiting',
  'scheduled',
  'pending',
  'processing',
  'retrying',
  'completed',
  'failed',
  'cancelled',
] as const

export async function openJobRows(
  { jobs, signal }: Pick<JobContext, 'jobs' | 'signal'>,
  selection: Selection,
): Promise<Rows> {
  const columns = chosenColumns(COLUMNS, { ...selection, columns: selection.columns ?? DEFAULT })
  const { type, status, ...others } = selection.equal
  const filter: JobPageFilter = { ...spanFilter(selection.date), ...typeFilter(type), ...statusFilter(status) }
  const fits = (job: JobRecord) => Object.entries(others).every(([column, value]) => cellOf(job, column) === value)

  async function* batches(): AsyncGenerator<Cell[][]> {
    let cursor: string | null = null
    do {
      signal.throwIfAborted()
      const page = await jobs.page(filter, cursor)
      yield page.jobs.filter(fits).map((job) => columns.map((column) => cellOf(job, column)))
      cursor = page.next_cursor
    } while (cursor !== null)
  }

  return {
    columns,
    count: await counted(batches, jobs.count, filter, others),
    batches: batches(),
    close: async () => {},
  }
}

/** Filters that only this thread applies are counted by going through the jobs once more. */
async function counted(
  batches: () => AsyncIterable<Cell[][]>,
  count: (filter: JobPageFilter) => Promise<number>,
  filter: JobPageFilter,
  others: Record<string, Scalar>,
): Promise<number> {
  if (Object.keys(others).length === 0) return count(filter)
  let sum = 0
  for await (const batch of batches()) sum += batch.length
  return sum
}

function spanFilter(date: string | null): JobPageFilter {
  if (date === null) return {}
  const { from, to } = spanOf(date)
  return { created_from: Math.max(0, from), created_before: Math.max(0, to) }
}

function typeFilter(type: Scalar | undefined): JobPageFilter {
  return type === undefined ? {} : { type: String(type) }
}

function statusFilter(status: Scalar | undefined): JobPageFilter {
  if (status === undefined) return {}
  const known = STATUSES.find((name) => name === status)
  if (known === undefined) throw new InvalidPayloadError(`filters: status must be one of ${STATUSES.join(', ')}`)
  return { status: [known] }
}

function cellOf(job: JobRecord, column: string): Cell {
  if (column === 'payload' || column === 'result') return { raw: JSON.stringify(job[column] ?? null), kind: 'json' }
  if (PLAIN.includes(column)) return scalar(job[column])
  const [part, field = ''] = column.startsWith('error_')
    ? (['error', column.slice(6)] as const)
    : (['worker', column] as const)
  const inner = job[part]
  return typeof inner === 'object' && inner !== null && field in inner ? scalar(Reflect.get(inner, field)) : null
}

function scalar(value: unknown): string | number | boolean | null {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : null
}
