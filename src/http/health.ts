// The probes: alive says that the process answers, ready that it takes jobs.
import type { Express } from 'express'
import { ServiceError } from '../errors.js'
import { route, sendJson } from './reply.js'

/** `unready` answers why no jobs are taken now, or null. */
export function healthRoutes(app: Express, unready: () => string | null): void {
  route(app, '/livez', { get: (_req, res) => sendJson(res, 200, { status: 'alive' }) })
  route(app, '/readyz', {
    get(_req, res) {
      const why = unready()
      if (why !== null) throw new ServiceError('not_ready', why)
      sendJson(res, 200, { status: 'ready' })
    },
  })
}
