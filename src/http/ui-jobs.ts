// The pages of jobs: the list with what can be done to many at once, and one job.
import type { Request } from 'express'
import { z } from 'zod'
import { type Bulk, rerunUnlessMoved } from '../bulk.js'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import { isFinal, type Job } from '../job.js'
import type { JobFeed } from '../job-feed.js'
import type { JobTypes } from '../job-types.js'
import type { LogLine, Store } from '../store/store.js'
import { invalid, typeOf } from '../submission.js'
import type { JobTracker } from '../tracker.js'
import { type BulkVerb, bulkAnswer, bulkQuestion } from '../ui/bulk.js'
import { jobDetails } from '../ui/job.js'
import { jobFilters, jobList } from '../ui/jobs.js'
import type { Why } from '../why.js'
import { bulkCancel, bulkRerun, moveMany } from './bulk.js'
import { cursorAfter, readJobQuery } from './job-query.js'
import { found } from './jobs.js'
import type { Pages } from './pages.js'
import { readQuery } from './query.js'

export interface JobPages {
  store: Store
  tracker: JobTracker
  types: JobTypes
  bulk: Bulk
  feed: JobFeed
  now(): number
  why(job: Job): Promise<Why>
}

/** Lines of the last run that the page of a job shows, read a piece at a time. */
const MOST_LINES = 500
const PIECE_LINES = 1_000
const REASON = 'cancelled on a page'

/** Empty fields of a form are none. */
const given = (fields: object) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))

export function jobPages(pages: Pages, options: JobPages): void {
  listPages(pages, options)
  bulkPages(pages, options)
  onePage(pages, options)
}

function listPages({ show }: Pages, { store, types, now }: JobPages): void {
  show('/ui/jobs', async (req, live) => {
    const asked = given(req.query)
    const { filter, limit, before } = readJobQuery(asked)
    const { jobs, next } = await store.list(filter, limit, before)
    const { cursor: _, ...shown } = Object.fromEntries(
      Object.entries(asked).map(([name, text]) => [name, String(text)]),
    )
    const older =
      next === null ? null : `/ui/jobs?${new URLSearchParams({ ...shown, cursor: cursorAfter(next, filter) })}`
    const body = jobList({ jobs, next: older, now: live ? null : now() })
    return { title: 'Jobs', head: jobFilters(shown, [...types.keys()]), body, over: false }
  })
}

const verb = z.enum(['cancel', 'rerun'])
const all = z.strictObject({
  verb,
  status: z.string().optional(),
  type: z.string().optional(),
  tag: z.string().optional(),
  batch: z.string().optional(),
  created_after: z.string().optional(),
  /** Where the jobs of the answer before ended. */
  cursor: z.string().optional(),
})
const selection = z.looseObject({ verb })

function bulkPages({ show, form }: Pages, { tracker, types, bulk, store }: JobPages): void {
  async function ask(req: Request) {
    const { verb, ...filter } = readQuery(all, given(req.query))
    checked(verb, { filter })
    return { title: 'Many jobs', body: bulkQuestion(verb, filter), over: true }
  }

  async function action(_req: Request, body: unknown) {
    const { verb, cursor, ...filter } = read(all, given(Object(body)))
    const { next_cursor, ...told } = await moveMany(bulk, verb, checked(verb, { filter, cursor }), REASON)
    return { status: 200, title: 'Many jobs', body: bulkAnswer(verb, filter, inWords(told), next_cursor) }
  }
  show('/ui/jobs/all', ask, { action })

  form('/ui/jobs/selected', async (_req, body) => {
    const { verb, ...boxes } = read(selection, body)
    const ids = Object.keys(boxes).flatMap((name) => (name.startsWith('job.') ? [name.slice('job.'.length)] : []))
    if (ids.length === 0) throw new ServiceError('invalid_request', 'no job was selected')
    const answers = await Promise.all(ids.map((id) => (verb === 'cancel' ? cancel(id) : rerun(id))))
    const told: Record<string, number> = {}
    for (const answer of answers) told[answer] = (told[answer] ?? 0) + 1
    return { status: 200, title: 'Many jobs', body: bulkAnswer(verb, {}, inWords(told), null) }
  })

  async function cancel(id: string): Promise<string> {
    return (await tracker.cancel(id, REASON))?.answer ?? 'gone'
  }

  async function rerun(id: string): Promise<string> {
    const job = await store.get(id)
    if (job === null) return 'gone'
    if (types.get(job.type)?.disabled !== null) return 'without_type'
    return (await rerunUnlessMoved(tracker, id)) === null ? 'open' : 'rerun'
  }
}

function onePage({ show, form }: Pages, { store, tracker, types, feed, why, now }: JobPages): void {
  const idOf = (req: Request) => String(req.params.id)

  const read = async (req: Request, live: boolean) => {
    const job = found(await store.get(idOf(req)), req)
    const attempts = await store.attempts(job.id)
    const log = live ? null : await tailOf(store, job)
    const body = jobDetails({ job, attempts, log, why: await why(job), now: live ? null : now() })
    return { title: `${job.type} ${job.status}`, body, over: isFinal(job.status) }
  }
  show('/ui/jobs/:id', read, {
    watch: (req) => (changed) => feed.subscribe(({ job }) => job.id === idOf(req) && changed()),
  })

  const pathOf = (req: Request) => `/ui/jobs/${encodeURIComponent(idOf(req))}`
  form('/ui/jobs/:id/cancel', async (req) => {
    found(await tracker.cancel(idOf(req), REASON), req)
    return pathOf(req)
  })
  form('/ui/jobs/:id/rerun', async (req) => {
    typeOf(found(await store.get(idOf(req)), req).type, types)
    found(await tracker.rerun(idOf(req)), req)
    return pathOf(req)
  })
}

/** The last lines of the last run, and the number of the first of them. */
async function tailOf(store: Store, { id, run }: Job) {
  let lines: LogLine[] = []
  for (let after = 0; ; ) {
    const piece = await store.logs(id, { run, line: after }, PIECE_LINES)
    after += piece.length
    lines = [...lines, ...piece.filter((line) => line.run === run)].slice(-MOST_LINES)
    if (piece.length < PIECE_LINES) return { first: lines[0]?.line ?? 1, lines }
  }
}

function read<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const found = inspect(schema, body)
  if (!found.ok) throw invalid('invalid_request', found.findings)
  return found.data
}

/** By the rules of the API. */
function checked(verb: BulkVerb, asked: { filter: object; cursor?: string | undefined }) {
  return read(verb === 'cancel' ? bulkCancel : bulkRerun, asked)
}

const WORDS: Record<string, string> = {
  cancelled: 'cancelled',
  requested: 'asked to stop',
  asked_to_stop: 'asked to stop',
  final: 'had ended before',
  gone: 'are gone',
  rerun: 'run again',
  open: 'had not ended',
  without_type: 'have a type that is not there any more, or disabled',
}

const inWords = (told: Record<string, number>) =>
  Object.fromEntries(Object.entries(told).flatMap(([what, n]) => (n === 0 ? [] : [[WORDS[what] ?? what, n]])))
