// The built-in job type `cleanup`: deletes final jobs, files and rows of tables that are older than an age.
import { resolve } from 'node:path'
import { z } from 'zod'
import { defineJob, type JobContext } from '../../src/define-job.js'
import { cleanFiles } from './files.js'
import { cleanJobs } from './jobs.js'
import { createMeter, type Task } from './meter.js'
import { parseSpan, span } from './span.js'
import { cleanTables, isSource } from './tables.js'

const root = z
  .string()
  .refine((path) => /\S/.test(path) && !path.includes('\0'), { error: 'must be the path of a folder', abort: true })
  .refine((path) => resolve('/', path) !== resolve('/'), 'must not be the root of the file system')

const table = z.strictObject({
  source: z.string().refine(isSource, 'must be a path or a "file:" URI of a SQLite file, or a "postgres://" URL'),
  table: z.string().min(1),
  date_column: z.string().min(1),
})

const config = z.strictObject({
  roots: z.array(root).default([]),
  tables: z.array(table).default([]),
  delete_jobs: z.boolean().default(true),
})

type Config = z.output<typeof config>
type Target = 'jobs' | 'files' | 'tables'

/** The targets that the configuration names, in the order in which they are cleaned. */
function configured({ delete_jobs, roots, tables }: Config): Target[] {
  const targets = { jobs: delete_jobs, files: roots.length > 0, tables: tables.length > 0 }
  return (['jobs', 'files', 'tables'] as const).filter((target) => targets[target])
}

const NOTHING = 'nothing is configured to be cleaned up: set roots, tables or delete_jobs under jobs.cleanup'

function payload(config: Config) {
  const known = configured(config)
  const one = known.length === 0 ? NOTHING : `must be one of what jobs.cleanup configures: ${known.join(', ')}`
  const some = known.length === 0 ? NOTHING : `must name at least one of: ${known.join(', ')}`
  return z.strictObject({
    older_than: span,
    dry_run: z.boolean().default(false),
    targets: z
      .array(z.enum(known, one))
      .min(1, some)
      .refine((targets) => new Set(targets).size === targets.length, 'must not name a target twice')
      .prefault(known),
  })
}

export default defineJob({
  description: 'Delete final jobs, files and rows of tables that are older than an age',
  payload,
  config,
  timeout: '10m',
  retry_count: 1,
  concurrency: 1,
  async run({ older_than, dry_run, targets }, ctx: JobContext<Config>) {
    const before = Date.now() - (parseSpan(older_than) ?? 0)
    const { roots, tables } = ctx.config
    const has = (target: Target) => targets.includes(target)
    const units = { jobs: 1, files: roots.length, tables: tables.length }
    const meter = createMeter(
      ctx,
      targets.reduce((sum, target) => sum + units[target], 0),
    )
    const task: Task = { before, dry_run, meter }
    return {
      dry_run,
      older_than,
      before: new Date(before).toISOString(),
      ...(has('jobs') && { jobs: await cleanJobs(ctx.jobs, task) }),
      ...(has('files') && { files: await cleanFiles(roots, ctx.resolve, task) }),
      ...(has('tables') && { tables: await cleanTables(tables, ctx.resolve, task) }),
    }
  },
})
