// The pages under /ui/: rendered here, readable without scripts, kept up to date by a stream where there are some.
import type { Express } from 'express'
import { z } from 'zod'
import { charts, overview } from '../ui/overview.js'
import { sendHtml } from './html.js'
import type { FollowPage } from './live-pages.js'
import { createPages } from './pages.js'
import { readQuery } from './query.js'
import { route } from './reply.js'
import { readStats } from './stats-view.js'
import { type JobPages, jobPages } from './ui-jobs.js'
import { type SchedulePages, schedulePages } from './ui-schedules.js'
import { type SubmitPages, submitPages } from './ui-submit.js'
import { type WorkerPages, workerPages } from './ui-workers.js'

export interface PageRoutes extends JobPages, SubmitPages, SchedulePages, WorkerPages {
  live: FollowPage
  body_limit: number
}

const idQuery = z.strictObject({ id: z.string().trim().min(1).max(64) })

export function pageRoutes(app: Express, options: PageRoutes): void {
  app.get('/', (_req, res) => res.redirect(302, '/ui/'))
  // To Express "/ui/" is the same.
  app.get('/ui', (req, res, next) => (req.path === '/ui' ? res.redirect(302, '/ui/') : next()))
  app.get('/ui/find', (req, res) => {
    res.redirect(302, `/ui/jobs/${encodeURIComponent(readQuery(idQuery, req.query).id)}`)
  })

  const pages = createPages(app, options.live, options.body_limit)
  pages.show('/ui/', async (_req, live) => {
    const body = overview(await readStats(options), live)
    return { title: 'Overview', body, over: false, charts: true }
  })
  route(app, '/ui/charts', {
    get: async (_req, res) => sendHtml(res, 200, charts(await readStats(options))),
  })
  jobPages(pages, options)
  submitPages(pages, options)
  schedulePages(pages, options)
  workerPages(pages, options)
}
