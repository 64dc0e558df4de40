// The pages under /ui/: rendered here, readable without scripts, kept up to date by a stream where there are some.
import type { Express, Request } from 'express'
import { z } from 'zod'
import { isFinal, type Job } from '../job.js'
import { typeOf } from '../submission.js'
import { jobDetails } from '../ui/job.js'
import { jobFilters, jobList } from '../ui/jobs.js'
import { overview } from '../ui/overview.js'
import type { Why } from '../why.js'
import { cursorAfter, readJobQuery } from './job-query.js'
import { found } from './jobs.js'
import type { FollowPage } from './live-pages.js'
import { createPages } from './pages.js'
import { readQuery } from './query.js'
import { readStats } from './stats-view.js'
import { type UpkeepPages, upkeepPages } from './ui-upkeep.js'

export interface PageRoutes extends UpkeepPages {
  live: FollowPage
  body_limit: number
  why(job: Job): Promise<Why>
}

/** Lines of the last run that the page of a job shows: as many as are kept of one by default. */
const MOST_LINES = 1_000

export function pageRoutes(app: Express, options: PageRoutes): void {
  const { store, tracker, types, live, body_limit, now, why } = options

  app.get('/', (_req, res) => res.redirect(302, '/ui/'))
  // To Express "/ui/" is the same.
  app.get('/ui', (req, res, next) => (req.path === '/ui' ? res.redirect(302, '/ui/') : next()))

  const pages = createPages(app, live, body_limit)
  const { show, form } = pages
  upkeepPages(pages, options)

  show('/ui/', async () => ({ title: 'Overview', body: overview(await readStats(options)), over: false }))

  show('/ui/jobs', async (req) => {
    const asked = Object.entries(req.query).filter(([, value]) => value !== '')
    const { filter, limit, before } = readJobQuery(Object.fromEntries(asked))
    const { jobs, next } = await store.list(filter, limit, before)
    const text = (name: string) => String(Object.fromEntries(asked)[name] ?? '')
    const shown = { status: text('status'), type: text('type'), tag: text('tag') }
    const following = new URLSearchParams(Object.entries(shown).filter(([, value]) => value !== ''))
    if (next !== null) following.set('cursor', cursorAfter(next, filter))
    const older = next === null ? null : `/ui/jobs?${following}`
    const body = jobList({ jobs, next: older, now: now() })
    return { title: 'Jobs', head: jobFilters(shown, [...types.keys()]), body, over: false }
  })

  show('/ui/jobs/:id', async (req) => {
    const id = String(req.params.id)
    const job = found(await store.get(id), req)
    const attempts = await store.attempts(id)
    const logs = await store.logs(id, { run: job.run - 1, line: Number.MAX_SAFE_INTEGER }, MOST_LINES)
    const body = jobDetails({ job, attempts, logs, why: await why(job), now: now() })
    return { title: `${job.type} ${job.status}`, body, over: isFinal(job.status) }
  })

  const idQuery = z.strictObject({ id: z.string().trim().min(1).max(64) })
  app.get('/ui/find', (req, res) => {
    res.redirect(302, `/ui/jobs/${encodeURIComponent(readQuery(idQuery, req.query).id)}`)
  })

  const pathOf = (req: Request) => `/ui/jobs/${encodeURIComponent(String(req.params.id))}`
  form('/ui/jobs/:id/cancel', async (req) => {
    found(await tracker.cancel(String(req.params.id), 'cancelled on a page'), req)
    return pathOf(req)
  })
  form('/ui/jobs/:id/rerun', async (req) => {
    typeOf(found(await store.get(String(req.params.id)), req).type, types)
    found(await tracker.rerun(String(req.params.id)), req)
    return pathOf(req)
  })
}
