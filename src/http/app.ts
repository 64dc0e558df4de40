// The HTTP surface: guards first, then the routes, then one place that answers for everything that went wrong.
import express, { type Express } from 'express'
import type { ApiKey } from '../api-key.js'
import type { DrainRate } from '../drain-rate.js'
import { ServiceError } from '../errors.js'
import type { EventBus } from '../events.js'
import { assetRoutes } from './assets.js'
import { authentication } from './auth.js'
import { type BatchRoutes, batchRoutes } from './batches.js'
import { type DescriptionRoutes, descriptionRoutes } from './description.js'
import { type DigestRoutes, digestRoutes } from './digests.js'
import { type EventRoutes, eventRoutes } from './events.js'
import { browserGuards, framingGuard } from './guards.js'
import { type HealthRoutes, healthRoutes } from './health.js'
import { type JobRoutes, jobRoutes } from './jobs.js'
import { loginRoutes } from './login.js'
import { problemWriter } from './problem.js'
import { type ScheduleRoutes, scheduleRoutes } from './schedules.js'
import { type PageRoutes, pageRoutes } from './ui.js'
import { type WorkerRoutes, workerRoutes } from './workers.js'

export interface AppOptions
  extends JobRoutes,
    BatchRoutes,
    ScheduleRoutes,
    DigestRoutes,
    DescriptionRoutes,
    EventRoutes,
    PageRoutes,
    WorkerRoutes,
    HealthRoutes {
  bus: EventBus
  drain: DrainRate
  /** `server.host`. */
  host: string
  /** `server.cors_origins`. */
  cors_origins: readonly string[]
  keys: readonly ApiKey[]
}

export function createApp(options: AppOptions): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', 'simple')
  // Paths are compared as they are, by all that looks at them.
  app.enable('case sensitive routing')
  app.use(framingGuard())
  app.use(browserGuards(options.host, options.cors_origins))
  // Probes come without a key.
  healthRoutes(app, options)
  assetRoutes(app)
  loginRoutes(app, options.keys)
  app.use(authentication(options.keys))
  // Before the jobs: to them "batch" would be an id.
  batchRoutes(app, options)
  eventRoutes(app, options)
  jobRoutes(app, options)
  scheduleRoutes(app, options)
  digestRoutes(app, options)
  workerRoutes(app, options)
  descriptionRoutes(app, options)
  pageRoutes(app, options)
  app.use((req) => {
    throw new ServiceError('not_found', `there is nothing at ${req.path.slice(0, 200)}`)
  })
  app.use(problemWriter(options.bus, () => options.drain.retryAfter(options.queue_size)))
  return app
}
