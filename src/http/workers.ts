// The routes of the workers: what they do, how many there may be, and which types of jobs they run.
import type { Express, Request, Response } from 'express'
import { z } from 'zod'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import { timestamp } from '../job.js'
import type { JobType, JobTypes } from '../job-types.js'
import type { Metrics } from '../metrics.js'
import type { Node } from '../nodes.js'
import { MAX_THREADS } from '../pool/threads.js'
import { invalid } from '../submission.js'
import type { JobTracker } from '../tracker.js'
import { readBody } from './body.js'
import { readQuery } from './query.js'
import { route, sendJson } from './reply.js'
import { pausesView, readStats, type StatsSources } from './stats-view.js'

export interface WorkerRoutes extends StatsSources {
  tracker: JobTracker
  metrics: Metrics
  types: JobTypes
  body_limit: number
}

/** {} is all of them. */
export const which = z.strictObject({ type: z.string().min(1).optional() }).default({})
export const bound = z.strictObject({ max_workers: z.int().min(1).max(MAX_THREADS) })

export const statsQuery = z.strictObject({
  node: z.string().optional().describe('Only of the node with this id. Left out: of all nodes.'),
})
export const resizeQuery = z.strictObject({
  node: z.string().optional().describe('The id of a node, or `all`. Left out: the node that answers.'),
})

/** A node that is drained takes no more jobs; what runs goes on. */
export const DRAINING = [
  ['drain', true],
  ['resume', false],
] as const

export function workerRoutes(app: Express, options: WorkerRoutes): void {
  const { store, tracker, metrics, types, nodes, body_limit } = options

  route(app, '/workers/stats', {
    get: async (req, res) => sendJson(res, 200, await readStats(options, readQuery(statsQuery, req.query).node)),
  })

  route(app, '/metrics', {
    async get(_req, res) {
      const text = await metrics.text()
      res.setHeader('Content-Type', metrics.content_type)
      res.end(text)
    },
  })

  const resize = {
    async put(req: Request, res: Response) {
      const body = inspect(bound, await readBody(req, body_limit))
      if (!body.ok) throw invalid('invalid_request', body.findings)
      const { node } = readQuery(resizeQuery, req.query)
      const { id } = await nodes.ask(node === 'all' ? null : (node ?? options.node), body.data)
      sendJson(res, 200, await readStats(options, node === 'all' ? undefined : id))
    },
  }
  route(app, '/workers', resize, 'admin')

  const pauseOrResume = (paused: boolean) => ({
    async post(req: Request, res: Response) {
      const body = inspect(which, await readBody(req, body_limit))
      if (!body.ok) throw invalid('invalid_request', body.findings)
      const { type = null } = body.data
      if (type !== null) knownType(type, types)
      sendJson(res, 200, pausesView(await tracker.pause(type, paused)))
    },
  })
  route(app, '/workers/pause', pauseOrResume(true), 'admin')
  route(app, '/workers/resume', pauseOrResume(false), 'admin')

  route(app, '/nodes', {
    get: async (_req, res) => sendJson(res, 200, { nodes: (await nodes.list()).map(nodeView) }),
  })
  for (const [verb, draining] of DRAINING) {
    const drain = {
      async post(req: Request, res: Response) {
        sendJson(res, 200, nodeView(await nodes.ask(String(req.params.id), { draining })))
      },
    }
    route(app, `/nodes/:id/${verb}`, drain, 'admin')
  }

  const views = [...types.values()].map(typeView)
  route(app, '/types', {
    async get(_req, res) {
      const { all, types: paused } = await store.pauses()
      sendJson(res, 200, { types: views.map((view) => ({ ...view, paused: all || paused.includes(view.name) })) })
    },
  })
}

/**
 * A disabled type may be paused all the same: it may come back at the next start.
 *
 * @throws ServiceError unknown_type
 */
export function knownType(name: string, types: JobTypes): void {
  if (types.has(name)) return
  const errors = [{ pointer: '/type', detail: `must be one of ${[...types.keys()].join(', ')}` }]
  throw new ServiceError('unknown_type', `there is no job type "${name.slice(0, 100)}"`, { errors })
}

function nodeView({ started_at, heartbeat_at, stats: _, ...node }: Node) {
  return { ...node, started_at: timestamp(started_at), heartbeat_at: timestamp(heartbeat_at) }
}

function typeView(type: JobType) {
  const { name, description, disabled, timeout_ms, retry_count, backoff } = type
  const { concurrency, reserved, rate, queue_size } = type
  return {
    name,
    description,
    state: disabled === null ? 'enabled' : 'disabled',
    reason: disabled,
    timeout_ms,
    retry_count,
    backoff,
    concurrency,
    reserved,
    rate,
    queue_size,
    payload_schema: payloadSchema(type),
  }
}

/** JSON Schema (draft 2020-12) of what a client sends; a schema that has no such form is shown as one that takes all. */
export function payloadSchema({ payload }: JobType): object {
  if (payload === null) return {}
  try {
    return z.toJSONSchema(payload, { io: 'input', unrepresentable: 'any' })
  } catch {
    return {}
  }
}
