// A source as it is configured under `jobs.export.sources`.
import { z } from 'zod'

export const sqlSource = z
  .strictObject({
    driver: z.enum(['sqlite3', 'sqlite', 'postgres']),
    /** The path or file: URI of a SQLite file, or a postgres:// URL. */
    source: z.string().min(1),
    table: z.string().min(1).optional(),
    query: z.string().min(1).optional(),
    /** What `filters.date` looks at. */
    date_column: z.string().min(1).optional(),
  })
  .refine(
    ({ table, query }) => (table === undefined) !== (query === undefined),
    'must have table or query, and not both',
  )

export type SqlSource = z.output<typeof sqlSource>
