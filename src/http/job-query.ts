// Reads the query string of GET /jobs, with a cursor that belongs to its query.
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import { CLOCK_SLACK_MS, lowestIdAt } from '../ids.js'
import { JOB_STATUSES, type JobStatus } from '../job.js'
import type { JobFilter } from '../store/store.js'
import { pageSize, queryTime, readQuery } from './query.js'

export interface JobQuery {
  filter: JobFilter
  limit: number
  /** The id that the page starts below; null for the first page. */
  before: string | null
}

/** In the description, where patterns have no flags. */
const TAG_SHAPE = '^[\\w.-]{1,64}:[\\s\\S]{0,255}$'
const ONE_STATUS = `(${JOB_STATUSES.join('|')})`

const status = z
  .string()
  .refine((text) => text.split(',').every(isStatus), `must be of ${JOB_STATUSES.join(', ')}, with commas between`)
  .transform((text) => text.split(',').filter(isStatus))
  .meta({ pattern: `^${ONE_STATUS}(,${ONE_STATUS})*$`, description: 'Statuses, with commas between.' })
  .optional()

export const jobQuery = z.strictObject({
  status,
  ...filterKeys(),
  limit: pageSize(50, 500),
  cursor: z.string().max(500).optional().describe('`next_cursor` of the page before, of the same query.'),
})

/** What lists and bulk requests filter by, beside the status. */
export function filterKeys() {
  return {
    type: z.string().min(1).max(64).optional().describe('Of this job type.'),
    tag: z
      .string()
      .regex(/^[\w.-]{1,64}:.{0,255}$/su, 'must be a tag such as "customer:17"')
      .meta({ pattern: TAG_SHAPE })
      .optional()
      .describe('With this tag: its name, a colon, its value.'),
    batch: z.string().min(1).max(64).optional().describe('Of the batch with this id.'),
    created_after: queryTime().optional().describe('Created after this time of RFC 3339.'),
  }
}

export const eventQuery = z.strictObject({ status, type: filterKeys().type })

/**
 * Of a stream of events.
 *
 * @throws ServiceError invalid_query
 */
export function readEventQuery(parameters: unknown): Pick<JobFilter, 'status' | 'type'> {
  return readQuery(eventQuery, parameters)
}

/** Bounds how far back is looked. */
export function withFirstId(filter: JobFilter): JobFilter {
  const { created_after: since } = filter
  return { ...filter, from_id: since === undefined ? undefined : lowestIdAt(since - CLOCK_SLACK_MS) }
}

function isStatus(text: string): text is JobStatus {
  return (JOB_STATUSES as readonly string[]).includes(text)
}

/** @throws ServiceError invalid_query */
export function readJobQuery(parameters: unknown): JobQuery {
  const { limit, cursor, ...asked } = readQuery(jobQuery, parameters)
  const filter = withFirstId(asked)
  return { filter, limit, before: cursor === undefined ? null : readCursor(cursor, filter) }
}

/** Opaque to clients: where the next page starts, and of which filter. */
export function cursorAfter(id: string, filter: JobFilter): string {
  return Buffer.from(JSON.stringify([id, signature(filter)])).toString('base64url')
}

/** @throws ServiceError invalid_query */
export function readCursor(cursor: string, filter: JobFilter): string {
  const parsed = cursorSchema.safeParse(decode(cursor))
  if (!parsed.success) throw new ServiceError('invalid_query', 'cursor: is not one that this server gave')
  const [id, of] = parsed.data
  if (of !== signature(filter)) throw new ServiceError('invalid_query', 'cursor: belongs to another query')
  return id
}

const cursorSchema = z.tuple([z.string(), z.string()])

function decode(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    return null
  }
}

function signature({ status, type, tag, batch, created_after }: JobFilter): string {
  const text = JSON.stringify([status?.toSorted(), type, tag, batch, created_after])
  return createHash('sha256').update(text).digest('base64url').slice(0, 12)
}
