// What the tests of jobs by SQL share: types, and the same submission by SQL and as HTTP makes a job of it.
import pg from 'pg'
import { newJob } from '../../src/new-job.js'
import { openPostgresStore, type PostgresOptions } from '../../src/store/postgres/postgres.js'
import type { NewJob, Store, TypeDefaults } from '../../src/store/store.js'
import { readSubmission } from '../../src/submission.js'
import { RULES } from './suite/stage.js'

export const MAX_PAYLOAD = 600
const TYPES: readonly TypeDefaults[] = [
  { name: 'email', timeout_ms: 60_000, retry_count: 3, max_payload: MAX_PAYLOAD },
  { name: 'export', timeout_ms: 600_000, retry_count: 1, max_payload: MAX_PAYLOAD },
]
const SUBMISSION_RULES = {
  max_payload: MAX_PAYLOAD,
  types: new Map(TYPES.map((type) => [type.name, { ...type, disabled: null, payload: null } as never])),
}

/** The job that a node makes of the body of POST /jobs. */
export function overHttp(id: string, body: object, now = Date.now()): NewJob {
  return newJob({ id, ...readSubmission(body, SUBMISSION_RULES, now) }, now, RULES)
}

export const openNode = (options: Omit<PostgresOptions, 'lease'>): Promise<Store> =>
  openPostgresStore({ lease: 3_600_000, types: TYPES, ...options }, RULES)

export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return client
}

/** Answers the id of the job; arguments that are undefined are left out. */
export async function submit(app: pg.Client, schema: string, ...values: unknown[]): Promise<string> {
  const given = values.filter((value) => value !== undefined)
  const parameters = given.map((_, i) => `$${i + 1}`).join(', ')
  return (await app.query(`SELECT ${schema}.submit(${parameters}) AS id`, given)).rows[0].id
}
