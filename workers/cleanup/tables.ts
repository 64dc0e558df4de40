// Old rows of the configured tables, in small batches; SQLite or PostgreSQL.
import { NonRetryableError } from '../../src/define-job.js'
import type { Task } from './meter.js'
import type { OldRows, Wanted } from './rows.js'
import { databaseFile, isPostgres } from './source.js'

interface TableConfig {
  source: string
  table: string
  date_column: string
}

export function isSource(source: string): boolean {
  return isPostgres(source) || databaseFile(source) !== null
}

/** A table that fails does not keep the others from being cleaned; what failed is thrown at the end. */
export async function cleanTables(tables: TableConfig[], resolve: (path: string) => string, task: Task) {
  const results: { table: string; deleted: number }[] = []
  const failures: Error[] = []
  for (const { source, ...wanted } of tables) {
    try {
      const rows = await openTable(source, resolve, { ...wanted, before: task.before, dry_run: task.dry_run })
      results.push({ table: wanted.table, deleted: await cleanTable(rows, task).finally(() => rows.close()) })
    } catch (error) {
      // A signal's reason is a word.
      if (!(error instanceof Error)) throw error
      failures.push(error)
    }
    await task.meter.unit()
  }
  if (failures.length === 0) return results
  const message = failures.map(({ message }) => message).join('; ')
  throw failures.every((failure) => failure instanceof NonRetryableError)
    ? new NonRetryableError(message)
    : new Error(message)
}

async function openTable(source: string, resolve: (path: string) => string, wanted: Wanted): Promise<OldRows> {
  if (isPostgres(source)) return (await import('./postgres.js')).openPostgresTable(source, wanted)
  return (await import('./sqlite.js')).openSqliteTable(resolve(databaseFile(source) ?? source), wanted)
}

async function cleanTable(rows: OldRows, { dry_run, meter }: Task): Promise<number> {
  const total = await rows.count()
  if (dry_run) {
    meter.add('rows', total)
    return total
  }
  let deleted = 0
  for (;;) {
    await meter.step(total === 0 ? 0 : Math.min(deleted / total, 1))
    const batch = await rows.deleteBatch()
    if (batch === 0) return deleted
    deleted += batch
    meter.add('rows', batch)
  }
}
