// The overview: what waits, what runs in each slot, how fast it goes, and the same by type.
import { html } from 'hono/html'
import type { StatsView } from '../http/stats-view.js'
import { JOB_STATUSES } from '../job.js'
import { chart } from './chart.js'
import type { Html } from './fragment.js'
import { bar, count, jobLink, measured, status, table, took, visible } from './parts.js'

/** Its charts change little within a second: the stream that keeps the page up to date leaves them as they are. */
export function overview(stats: StatsView, live: boolean): Html {
  const drawn = html`<div id="charts" class="columns" hx-morph-skip hx-get="/ui/charts" hx-trigger="every 15s" hx-swap="innerMorph">${live ? '' : charts(stats)}</div>`
  return html`<h1>Overview</h1>${paused(stats)}${depth(stats)}${slots(stats)}${drawn}${speed(stats)}${types(stats)}`
}

function paused({ paused, paused_types }: StatsView): Html {
  if (!paused && paused_types.length === 0) return html``
  const what = paused ? 'All types are paused' : `Paused: ${paused_types.join(', ')}`
  return html`<p class="notice" role="status">${what}</p>`
}

function depth({ jobs_by_status, queued_jobs, queue_size }: StatsView): Html {
  const tiles = JOB_STATUSES.map((name) => {
    const n = jobs_by_status[name] ?? 0
    return html`<li><a href="/ui/jobs?status=${name}">${status(name)} <strong>${count(n)}</strong></a></li>`
  })
  const full = Math.min(100, Math.round((100 * queued_jobs) / Math.max(1, queue_size)))
  return html`<section aria-labelledby="queue"><h2 id="queue">Queue</h2>
<ul class="tiles">${tiles}</ul>
<p>${bar(full, 'Queue')} ${count(queued_jobs)} pending of at most ${count(queue_size)}</p></section>`
}

function slots(stats: StatsView): Html {
  const { slots, max_workers, threads } = stats
  const busy = slots.filter(({ job }) => job !== null).length
  return html`<section aria-labelledby="slots"><h2 id="slots">Slots</h2>
<p>${busy} of ${max_workers} busy, ${threads} ${threads === 1 ? 'thread' : 'threads'}</p>${slotTable(stats)}</section>`
}

/** What runs in each. */
export function slotTable({ slots }: Pick<StatsView, 'slots'>): Html {
  const several = new Set(slots.map(({ node }) => node)).size > 1
  const rows = slots.map(({ node, slot, job }) => {
    const name = html`<th scope="row">${slot}${several ? html`<br><span class="quiet">${node}</span>` : ''}</th>`
    if (job === null) return html`<tr>${name}<td colspan="4" class="quiet">free</td></tr>`
    const { id, type, attempt, progress, progress_note } = job
    return html`<tr>${name}<td>${type}</td><td>${jobLink(id)}</td>
<td>${measured(progress, `${type} in slot ${slot}`)}</td><td class="note">${progress_note === null ? `attempt ${attempt}` : visible(progress_note)}</td></tr>`
  })
  return table('Slots', ['Slot', 'Type', 'Job', 'Progress', 'Note'], rows, 'no slots')
}

export function charts({ since, last_hour: { ends_at, completed, failed, cancelled } }: StatsView): Html {
  return html`${chart('throughput', 'Throughput, jobs a minute', { ends_at, since }, { completed })}
${chart('failures', 'Failures, jobs a minute', { ends_at, since }, { failed, cancelled })}`
}

function speed({ throughput, utilisation, wait_ms, run_ms }: StatsView): Html {
  const windows = [
    ['1 min', throughput.last_1m, utilisation.last_1m],
    ['5 min', throughput.last_5m, utilisation.last_5m],
    ['15 min', throughput.last_15m, utilisation.last_15m],
  ] as const
  const rows = windows.map(
    ([name, { completed_per_minute, failed_per_minute }, used]) =>
      html`<tr><th scope="row">${name}</th><td>${completed_per_minute.toFixed(1)}</td><td>${failed_per_minute.toFixed(1)}</td><td>${Math.round(100 * used)} %</td></tr>`,
  )
  const measures = (
    [
      ['Wait', wait_ms],
      ['Run', run_ms],
    ] as const
  ).map(
    ([name, { p50, p95, p99, max }]) =>
      html`<tr><th scope="row">${name}</th><td>${took(p50)}</td><td>${took(p95)}</td><td>${took(p99)}</td><td>${took(max)}</td></tr>`,
  )
  return html`<div class="columns"><section aria-labelledby="ended"><h2 id="ended">Ended per minute</h2>
${table('ended', ['Last', 'Completed', 'Failed', 'Slots used'], rows, '')}</section>
<section aria-labelledby="times"><h2 id="times">Times, last 15 min</h2>
${table('times', ['Measure', 'p50', 'p95', 'p99', 'Longest'], measures, '')}</section></div>`
}

function types({ types }: StatsView): Html {
  const rows = Object.entries(types).map(
    ([name, type]) =>
      html`<tr><th scope="row"><a href="/ui/jobs?type=${encodeURIComponent(name)}">${name}</a></th><td>${count(type.pending)}</td><td>${count(type.processing)}</td><td>${count(type.completed_jobs)}</td><td>${count(type.failed_jobs)}</td><td>${took(type.wait_ms.p95)}</td><td>${took(type.run_ms.p95)}</td></tr>`,
  )
  const columns = ['Type', 'Pending', 'Running', 'Completed', 'Failed', 'Wait p95', 'Run p95']
  return html`<section aria-labelledby="types"><h2 id="types">Types</h2>${table('types', columns, rows, 'no jobs yet')}</section>`
}
