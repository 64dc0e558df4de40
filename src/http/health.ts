// The probes: alive says that the process answers and its loops turn, ready that it takes jobs.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Express } from 'express'
import { ServiceError } from '../errors.js'
import type { Heartbeats } from '../upkeep/heartbeats.js'
import { route, sendJson } from './reply.js'

export interface HealthRoutes {
  heartbeats: Heartbeats
  /** Why no jobs are taken now, or null. */
  unready(): string | null
}

/**
 * When a machine wakes from sleep, a request may be read before the timers that became due meanwhile have fired: loops
 * that seem stuck are looked at once more, after they had this time to turn. Probes wait 1 s and more for an answer.
 */
const SECOND_LOOK_MS = 250

export function healthRoutes(app: Express, { heartbeats, unready }: HealthRoutes): void {
  route(app, '/livez', {
    async get(_req, res) {
      if (heartbeats.stuck() !== null) await sleep(SECOND_LOOK_MS)
      const stuck = heartbeats.stuck()
      if (stuck !== null) throw new ServiceError('not_alive', stuck)
      sendJson(res, 200, { status: 'alive', loops: heartbeats.loops() })
    },
  })
  route(app, '/readyz', {
    get(_req, res) {
      const why = unready()
      if (why !== null) throw new ServiceError('not_ready', why)
      sendJson(res, 200, { status: 'ready' })
    },
  })
}
