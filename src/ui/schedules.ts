// Schedules: when each comes next, what became of its ticks, and what its runs came to.
import { html } from 'hono/html'
import type { scheduleView, systemHistoryView, systemView, tickView } from '../schedules/view.js'
import type { Html } from './fragment.js'
import { ago, ahead, button, count, facts, jobLink, type Now, table, visible } from './parts.js'

/** As GET /schedules shows them. */
export type ShownSchedule = ReturnType<typeof scheduleView> | ReturnType<typeof systemView>
type ShownTick = ReturnType<typeof tickView> | ReturnType<typeof systemHistoryView>[number]

export function scheduleList(schedules: readonly ShownSchedule[], now: Now): Html {
  const rows = schedules.map(
    (one) =>
      html`<tr><th scope="row"><a href="/ui/schedules/${one.name}">${one.name}</a></th><td>${one.source}</td><td>${timing(one)}</td><td>${what(one)}</td><td>${next(one, now)}</td></tr>`,
  )
  return html`<h1>Schedules</h1>${table('Schedules', ['Name', 'From', 'When', 'What', 'Next'], rows, 'none')}`
}

export interface ScheduleDetails {
  schedule: ShownSchedule
  next: readonly number[]
  history: readonly ShownTick[]
  now: Now
}

export function scheduleDetails({ schedule, next, history, now }: ScheduleDetails): Html {
  const { name, totals, paused } = schedule
  const path = `/ui/schedules/${name}`
  const pause = 'job' in schedule ? button(`${path}/${paused ? 'resume' : 'pause'}`, paused ? 'Resume' : 'Pause') : ''
  const times = next.map((at) => html`<li>${ahead(at, now)}, ${new Date(at).toISOString()}</li>`)
  return html`<h1>${name}${paused ? html` <span class="status pending">paused</span>` : ''}</h1>
<div class="filters"><div class="buttons">${button(`${path}/run`, 'Run now')}${pause}</div></div>
<section aria-labelledby="about"><h2 id="about">About</h2>${facts([
    ['When', timing(schedule)],
    ['What', what(schedule)],
    ['From', schedule.source],
    ['Overlap', 'overlap' in schedule ? schedule.overlap : null],
    ['Catch up', 'catch_up' in schedule ? `${schedule.catch_up}, at most ${schedule.max_catch_up}` : null],
    ['Late at most', 'max_lateness' in schedule ? schedule.max_lateness : null],
    ['Begins', 'start_at' in schedule ? schedule.start_at : null],
    ['Ends', 'end_at' in schedule ? schedule.end_at : null],
    ['Completed', totals === null ? null : count(totals.completed)],
    ['Failed', totals === null ? null : count(totals.failed)],
    ['Last ended', totals?.last_ended_at == null ? null : ago(Date.parse(totals.last_ended_at), now)],
    ...Object.entries(totals?.sums ?? {}).map(([sum, n]) => [`Sum of ${sum}`, count(n)] as const),
  ])}</section>
${jobOf(schedule)}<section aria-labelledby="next"><h2 id="next">Next</h2>${times.length === 0 ? html`<p class="quiet">none</p>` : html`<ol>${times}</ol>`}</section>
${past(history)}`
}

/** What each tick submits. */
function jobOf(schedule: ShownSchedule): Html {
  if (!('job' in schedule)) return html``
  const text = visible(JSON.stringify(schedule.job, null, 2))
  return html`<section aria-labelledby="job"><h2 id="job">Job</h2><pre tabindex="0">${text}</pre></section>
`
}

function past(history: readonly ShownTick[]): Html {
  const rows = history.map(({ tick_at, until, outcome, job_id, detail }) => {
    const span = until === null ? tick_at : `${tick_at} to ${until}`
    const job = job_id === null ? '' : jobLink(job_id)
    return html`<tr><th scope="row">${span}</th><td>${outcome}</td><td>${job}</td><td>${detail}</td></tr>`
  })
  return html`<section aria-labelledby="history"><h2 id="history">History</h2>${table('history', ['Tick', 'Outcome', 'Job', 'Why'], rows, 'no ticks yet')}</section>`
}

function timing(schedule: ShownSchedule): Html {
  if (!('job' in schedule)) return html`when it is due`
  const { every, mode, cron, fields, time_zone } = schedule
  if (every !== undefined) return html`every ${every}${mode === 'fixed_delay' ? ' after a run' : ''}`
  return html`<code>${cron ?? JSON.stringify(fields)}</code> ${time_zone}`
}

function what(schedule: ShownSchedule): string {
  if (!('job' in schedule)) return schedule.description
  return String(Object(schedule.job).type)
}

function next({ next_at, paused }: ShownSchedule, now: Now): Html | string {
  if (paused) return 'paused'
  return next_at === null ? '–' : ahead(Date.parse(next_at), now)
}
