// The routes of the workers: what they do, how many there may be, and which types of jobs they run.
import type { Express } from 'express'
import { z } from 'zod'
import type { Dispatcher } from '../dispatcher.js'
import { inspect } from '../explain.js'
import { JOB_STATUSES, type JobStatus } from '../job.js'
import type { JobType, JobTypes } from '../job-types.js'
import { MAX_THREADS, type Pool } from '../pool/pool.js'
import type { Store } from '../store/store.js'
import { invalid } from '../submission.js'
import { readBody } from './body.js'
import { route, sendJson } from './reply.js'

export interface WorkerRoutes {
  store: Store
  dispatcher: Dispatcher
  pool: Pool
  types: JobTypes
  node: string
  queue_size: number
  body_limit: number
}

const bound = z.strictObject({ max_workers: z.int().min(1).max(MAX_THREADS) })

export function workerRoutes(app: Express, options: WorkerRoutes): void {
  const { store, dispatcher, pool, types, node, queue_size, body_limit } = options

  /** The first four fields keep names and meanings for ever. */
  async function stats() {
    const counts = Object.values(await store.counts())
    const now = (status: JobStatus) => counts.reduce((sum, type) => sum + (type.now[status] ?? 0), 0)
    const ever = (status: 'completed' | 'failed' | 'cancelled') =>
      counts.reduce((sum, type) => sum + (type.ever[status] ?? 0), 0)
    return {
      active_workers: now('processing'),
      queued_jobs: now('pending'),
      completed_jobs: ever('completed'),
      failed_jobs: ever('failed'),
      cancelled_jobs: ever('cancelled'),
      jobs_by_status: Object.fromEntries(JOB_STATUSES.map((status) => [status, now(status)])),
      max_workers: dispatcher.max_workers(),
      threads: pool.threads(),
      queue_size,
      node,
    }
  }

  route(app, '/workers/stats', {
    get: async (_req, res) => sendJson(res, 200, await stats()),
  })

  route(app, '/workers', {
    async put(req, res) {
      const body = inspect(bound, await readBody(req, body_limit))
      if (!body.ok) throw invalid('invalid_request', body.findings)
      dispatcher.resize(body.data.max_workers)
      sendJson(res, 200, await stats())
    },
  })

  const views = [...types.values()].map(typeView)
  route(app, '/types', { get: (_req, res) => sendJson(res, 200, { types: views }) })
}

function typeView(type: JobType) {
  const { name, description, disabled, timeout_ms, retry_count, backoff, payload } = type
  return {
    name,
    description,
    state: disabled === null ? 'enabled' : 'disabled',
    reason: disabled,
    timeout_ms,
    retry_count,
    backoff,
    payload_schema: payload === null ? {} : jsonSchema(payload),
  }
}

/** JSON Schema (draft 2020-12) of what a client sends; a schema that has no such form is shown as one that takes all. */
function jsonSchema(schema: z.ZodType): unknown {
  try {
    return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  } catch {
    return {}
  }
}
