// The pages of what happens by itself: schedules and digests.
import type { Request } from 'express'
import type { DigestRules } from '../digests/events.js'
import { digestPreview, digestSummary } from '../digests/view.js'
import { findSchedule } from '../schedules/find.js'
import type { Firing } from '../schedules/firing.js'
import type { Schedules } from '../schedules/schedules.js'
import { scheduleView, systemHistoryView, systemView, tickView } from '../schedules/view.js'
import type { Store } from '../store/store.js'
import { digestDetails, digestList } from '../ui/digests.js'
import { scheduleDetails, scheduleList } from '../ui/schedules.js'
import type { SystemSchedules } from '../upkeep/system-schedules.js'
import { findDigest } from './digests.js'
import type { Pages } from './pages.js'
import { listSchedules } from './schedules.js'

export interface SchedulePages {
  store: Store
  schedules: Schedules
  firing: Firing
  system: SystemSchedules
  digests: readonly DigestRules[]
  now(): number
}

const MOST_SCHEDULES = 500
const NEXT_TICKS = 10
const PAST_TICKS = 50

export function schedulePages({ show, form }: Pages, options: SchedulePages): void {
  const { store, schedules, firing, system, digests, now } = options
  const at = (live: boolean) => (live ? null : now())
  const nameOf = (req: Request) => String(req.params.name)
  const pathOf = (req: Request) => `/ui/schedules/${encodeURIComponent(nameOf(req))}`

  show('/ui/schedules', async (_req, live) => {
    const { schedules } = await listSchedules(store, system, '', MOST_SCHEDULES)
    return { title: 'Schedules', body: scheduleList(schedules, at(live)), over: false }
  })

  show('/ui/schedules/:name', async (req, live) => {
    const own = system.get(nameOf(req))
    const title = nameOf(req)
    if (own !== null) {
      const next = own.next_at === null ? [] : [own.next_at]
      const details = { schedule: systemView(own), next, history: systemHistoryView(own, PAST_TICKS), now: at(live) }
      return { title, body: scheduleDetails(details), over: false }
    }
    const found = await findSchedule(store, nameOf(req))
    const history = (await store.ticks(found.name, PAST_TICKS)).map(tickView)
    const next = found.paused_at === null ? schedules.next(found, NEXT_TICKS, null) : []
    const body = scheduleDetails({ schedule: scheduleView(found), next, history, now: at(live) })
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

  show('/ui/digests', async (_req, live) => {
    const all = await Promise.all(digests.map(({ name }) => digestSummary(store, name)))
    return { title: 'Digests', body: digestList(all, at(live)), over: false }
  })

  show('/ui/digests/:name', async (req, live) => {
    const { name } = findDigest(nameOf(req), digests)
    return { title: name, body: digestDetails(await digestPreview(store, name), at(live)), over: false }
  })
}
