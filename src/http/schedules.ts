// The routes of schedules: define, list, pause, run now, look ahead and back.
import type { Express, Request } from 'express'
import { z } from 'zod'
import { digestOf } from '../digests/events.js'
import { ServiceError } from '../errors.js'
import { timestamp } from '../job.js'
import { jobJson } from '../job-view.js'
import { findSchedule } from '../schedules/find.js'
import type { Firing } from '../schedules/firing.js'
import { SCHEDULE_NAME } from '../schedules/plan.js'
import type { Schedules } from '../schedules/schedules.js'
import { scheduleView, systemHistoryView, systemView, tickView } from '../schedules/view.js'
import type { Store } from '../store/store.js'
import { SYSTEM_PREFIX, type SystemSchedules } from '../upkeep/system-schedules.js'
import { readBody } from './body.js'
import { pageSize, queryTime, readQuery } from './query.js'
import { route, sendJson, sendJsonText } from './reply.js'

export interface ScheduleRoutes {
  store: Store
  schedules: Schedules
  firing: Firing
  system: SystemSchedules
  body_limit: number
  /** @throws ServiceError draining */
  refuseWhileDraining(): void
}

export const listQuery = z.strictObject({
  limit: pageSize(50, 500),
  cursor: z
    .string()
    .regex(SCHEDULE_NAME, 'is not one that GET /schedules gave')
    .optional()
    .describe('`next_cursor` of the page before: the name of its last schedule.'),
})
export const nextQuery = z.strictObject({
  count: pageSize(10, 100),
  from: queryTime().optional().describe('Ticks after this time; left out: after now.'),
})
export const historyQuery = z.strictObject({ limit: pageSize(50, 1_000) })

export function scheduleRoutes(app: Express, options: ScheduleRoutes): void {
  const { store, schedules, firing, system, body_limit, refuseWhileDraining } = options

  route(app, '/schedules', {
    async get(req, res) {
      const { limit, cursor = '' } = readQuery(listQuery, req.query)
      const page = await listSchedules(store, system, cursor, limit)
      const { next_cursor } = page
      if (next_cursor !== null) res.setHeader('Link', `</schedules?limit=${limit}&cursor=${next_cursor}>; rel="next"`)
      sendJson(res, 200, page)
    },
  })

  route(app, '/schedules/:name', {
    async get(req, res) {
      const own = system.get(nameOf(req))
      sendJson(res, 200, own === null ? scheduleView(await find(req)) : systemView(own))
    },
    async put(req, res) {
      const body = await readBody(req, body_limit)
      refuseWhileDraining()
      const { schedule, created } = await schedules.put(newName(req), body, 'http')
      if (created) res.setHeader('Location', `/schedules/${schedule.name}`)
      sendJson(res, created ? 201 : 200, scheduleView(schedule))
    },
    async delete(req, res) {
      refuseOwn(req)
      await schedules.remove(nameOf(req))
      res.statusCode = 204
      res.end()
    },
  })

  route(app, '/schedules/:name/run', {
    async post(req, res) {
      await readBody(req, body_limit)
      refuseWhileDraining()
      const own = await system.run(nameOf(req))
      if (own !== null) return sendJson(res, 200, systemView(own))
      const job = await firing.run(nameOf(req))
      res.setHeader('Location', `/jobs/${job.id}`)
      sendJsonText(res, 202, jobJson(job))
    },
  })

  const pauseOrResume = (paused: boolean) => ({
    async post(req: Request, res: Parameters<typeof sendJson>[0]) {
      await readBody(req, body_limit)
      refuseOwn(req)
      sendJson(res, 200, scheduleView(await schedules.pause(nameOf(req), paused)))
    },
  })
  route(app, '/schedules/:name/pause', pauseOrResume(true))
  route(app, '/schedules/:name/resume', pauseOrResume(false))

  route(app, '/schedules/:name/next', {
    async get(req, res) {
      const { count, from = null } = readQuery(nextQuery, req.query)
      const own = system.get(nameOf(req))
      if (own !== null) return sendJson(res, 200, { next: own.next_at === null ? [] : [timestamp(own.next_at)] })
      sendJson(res, 200, { next: schedules.next(await find(req), count, from).map(timestamp) })
    },
  })

  route(app, '/schedules/:name/history', {
    async get(req, res) {
      const { limit } = readQuery(historyQuery, req.query)
      const own = system.get(nameOf(req))
      if (own !== null) return sendJson(res, 200, { history: systemHistoryView(own, limit) })
      const { name } = await find(req)
      sendJson(res, 200, { history: (await store.ticks(name, limit)).map(tickView) })
    },
  })

  const find = (req: Request) => findSchedule(store, nameOf(req))
}

/** By name, with jobmill's own among them. */
export async function listSchedules(store: Store, system: SystemSchedules, after: string, limit: number) {
  const own = system.list().filter(({ name }) => name > after)
  const found = [...(await store.schedules(after, limit + 1)).map(scheduleView), ...own.map(systemView)]
  found.sort((a, b) => (a.name < b.name ? -1 : 1))
  const next_cursor = found.length > limit ? (found[limit - 1]?.name ?? null) : null
  return { schedules: found.slice(0, limit), next_cursor }
}

const nameOf = (req: Request) => String(req.params.name)

/** @throws ServiceError schedule_fixed */
function refuseOwn(req: Request): void {
  if (nameOf(req).startsWith(SYSTEM_PREFIX))
    throw new ServiceError('schedule_fixed', `names that begin with ${SYSTEM_PREFIX} are jobmill's own upkeep`)
}

/** @throws ServiceError invalid_request, schedule_fixed */
function newName(req: Request): string {
  const name = nameOf(req)
  refuseOwn(req)
  if (digestOf(name) !== null)
    throw new ServiceError('schedule_fixed', 'names that begin with digest. are those of digests in the configuration')
  if (SCHEDULE_NAME.test(name)) return name
  throw new ServiceError('invalid_request', 'the name of a schedule must have 1 to 64 letters, digits and ._-')
}
