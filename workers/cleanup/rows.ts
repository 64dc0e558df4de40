// What the two kinds of databases have in common: a table that is open and knows its old rows.

export const BATCH_ROWS = 500

export interface Wanted {
  table: string
  date_column: string
  /** Rows are old whose date is before this, in milliseconds since 1970. */
  before: number
  dry_run: boolean
}

export interface OldRows {
  count(): Promise<number>
  /** Deletes up to BATCH_ROWS of them in one transaction and returns how many it were. */
  deleteBatch(): Promise<number>
  close(): Promise<void>
}
