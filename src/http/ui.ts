// The pages under /ui/: rendered here, readable without scripts, kept up to date by a stream where there are some.
import type { Express, Request, Response } from 'express'
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import type { Job } from '../job.js'
import { isFinal } from '../job.js'
import type { JobTypes } from '../job-types.js'
import type { Schedules } from '../schedules/schedules.js'
import type { JobTracker } from '../tracker.js'
import type { Html } from '../ui/fragment.js'
import { jobDetails } from '../ui/job.js'
import { jobFilters, jobList } from '../ui/jobs.js'
import { page } from '../ui/layout.js'
import { overview } from '../ui/overview.js'
import type { Why } from '../why.js'
import { readBody } from './body.js'
import { sendPage } from './html.js'
import { cursorAfter, readJobQuery } from './job-query.js'
import type { FollowPage, Rendering } from './live-pages.js'
import { readQuery } from './query.js'
import { route } from './reply.js'
import { readStats, type StatsSources } from './stats-view.js'

export interface PageRoutes extends StatsSources {
  tracker: JobTracker
  types: JobTypes
  schedules: Schedules
  live: FollowPage
  body_limit: number
  now(): number
  why(job: Job): Promise<Why>
}

/** Lines of a job's log that its page shows. */
const MOST_LINES = 500

/** A page, with what it is about now. */
interface Page extends Rendering {
  title: string
  head?: Html
}

export function pageRoutes(app: Express, options: PageRoutes): void {
  const { store, tracker, types, live, body_limit, now, why } = options

  app.get('/', (_req, res) => res.redirect(302, '/ui/'))
  // To Express "/ui/" is the same.
  app.get('/ui', (req, res, next) => (req.path === '/ui' ? res.redirect(302, '/ui/') : next()))

  /** The page, and at `/ui/live…` the stream that keeps it up to date. */
  function show(path: string, read: (req: Request) => Promise<Page>): void {
    route(app, path, {
      async get(req, res) {
        const { title, head, body, over } = await read(req)
        const stream = over ? null : req.originalUrl.replace(/^\/ui/, '/ui/live')
        sendPage(res, 200, page({ title, head, body, live: stream }, req.path))
      },
    })
    route(app, path.replace(/^\/ui/, '/ui/live'), {
      async get(req, res) {
        // What is wrong with it is told before the stream begins.
        await read(req)
        live(res, req.originalUrl, () => read(req))
      },
    })
  }

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
    const job = await store.get(id)
    if (job === null) throw new ServiceError('job_not_found', `there is no job ${id.slice(0, 100)}`)
    const [attempts, logs] = [await store.attempts(id), await store.logs(id, { run: 0, line: 0 }, MOST_LINES)]
    const body = jobDetails({ job, attempts, logs, why: await why(job), now: now() })
    return { title: `${job.type} ${job.status}`, body, over: isFinal(job.status) }
  })

  const idQuery = z.strictObject({ id: z.string().trim().min(1).max(64) })
  app.get('/ui/find', (req, res) => {
    res.redirect(302, `/ui/jobs/${encodeURIComponent(readQuery(idQuery, req.query).id)}`)
  })

  /** What a form of a page asks for; the page shows what came of it. */
  const form = (action: (id: string) => Promise<unknown>) => ({
    async post(req: Request, res: Response) {
      await readBody(req, body_limit)
      const id = String(req.params.id)
      if ((await action(id)) === null) throw new ServiceError('job_not_found', `there is no job ${id.slice(0, 100)}`)
      res.redirect(303, `/ui/jobs/${encodeURIComponent(id)}`)
    },
  })
  route(
    app,
    '/ui/jobs/:id/cancel',
    form((id) => tracker.cancel(id, 'cancelled on a page')),
  )
  route(
    app,
    '/ui/jobs/:id/rerun',
    form((id) => tracker.rerun(id)),
  )
}
