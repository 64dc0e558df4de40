// The pages of what keeps jobmill going: schedules, workers, types.
import type { Request } from 'express'
import { z } from 'zod'
import type { Dispatcher } from '../dispatcher.js'
import { inspect } from '../explain.js'
import type { JobTypes } from '../job-types.js'
import { MAX_THREADS } from '../pool/threads.js'
import { findSchedule } from '../schedules/find.js'
import type { Firing } from '../schedules/firing.js'
import type { Schedules } from '../schedules/schedules.js'
import { scheduleView, systemHistoryView, systemView, tickView } from '../schedules/view.js'
import { invalid } from '../submission.js'
import type { JobTracker } from '../tracker.js'
import { scheduleDetails, scheduleList } from '../ui/schedules.js'
import { workersPage } from '../ui/workers.js'
import type { SystemSchedules } from '../upkeep/system-schedules.js'
import type { Pages } from './pages.js'
import { listSchedules } from './schedules.js'
import { readStats, type StatsSources } from './stats-view.js'
import { knownType } from './workers.js'

export interface UpkeepPages extends StatsSources {
  tracker: JobTracker
  dispatcher: Dispatcher
  types: JobTypes
  schedules: Schedules
  firing: Firing
  system: SystemSchedules
  now(): number
}

const MOST_SCHEDULES = 500
const NEXT_TICKS = 10
const PAST_TICKS = 50

export function upkeepPages({ show, form }: Pages, options: UpkeepPages): void {
  schedulePages({ show, form }, options)
  workerPages({ show, form }, options)
}

function schedulePages({ show, form }: Pages, { store, schedules, firing, system, now }: UpkeepPages): void {
  const nameOf = (req: Request) => String(req.params.name)
  const pathOf = (req: Request) => `/ui/schedules/${encodeURIComponent(nameOf(req))}`

  show('/ui/schedules', async () => {
    const { schedules } = await listSchedules(store, system, '', MOST_SCHEDULES)
    return { title: 'Schedules', body: scheduleList(schedules, now()), over: false }
  })

  show('/ui/schedules/:name', async (req) => {
    const own = system.get(nameOf(req))
    const title = nameOf(req)
    if (own !== null) {
      const next = own.next_at === null ? [] : [own.next_at]
      const details = { schedule: systemView(own), next, history: systemHistoryView(own, PAST_TICKS), now: now() }
      return { title, body: scheduleDetails(details), over: false }
    }
    const found = await findSchedule(store, nameOf(req))
    const history = (await store.ticks(found.name, PAST_TICKS)).map(tickView)
    const next = found.paused_at === null ? schedules.next(found, NEXT_TICKS, null) : []
    const body = scheduleDetails({ schedule: scheduleView(found), next, history, now: now() })
    return { title, body, over: false }
  })

  form('/ui/schedules/:name/run', async (req) => {
    const own = await system.run(nameOf(req))
    return own === null ? `/ui/jobs/${(await firing.run(nameOf(req))).id}` : pathOf(req)
  })
  for (const [verb, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const)
    form(`/ui/schedules/:name/${verb}`, async (req) => {
      await schedules.pause(nameOf(req), paused)
      return pathOf(req)
    })
}

const scale = z.object({ max_workers: z.coerce.number().int().min(1).max(MAX_THREADS) })

function workerPages({ show, form }: Pages, options: UpkeepPages): void {
  const { tracker, dispatcher, types } = options

  show('/ui/workers', async () => {
    const body = workersPage(await readStats(options), [...types.values()], MAX_THREADS)
    // What is typed in would be lost with each new state of the page.
    return { title: 'Workers', body, over: true }
  })

  const scaled = async (_req: Request, body: unknown) => {
    const checked = inspect(scale, body ?? {})
    if (!checked.ok) throw invalid('invalid_request', checked.findings)
    dispatcher.resize(checked.data.max_workers)
    return '/ui/workers'
  }
  form('/ui/workers/scale', scaled, 'admin')

  for (const [verb, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    const pause = async (type: string | null) => {
      if (type !== null) knownType(type, types)
      await tracker.pause(type, paused)
      return '/ui/workers'
    }
    form(`/ui/workers/${verb}`, () => pause(null), 'admin')
    form(`/ui/types/:name/${verb}`, (req) => pause(String(req.params.name)), 'admin')
  }
}
