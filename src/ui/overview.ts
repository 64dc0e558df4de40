// The overview: what waits, what runs in each slot, how fast it goes, and the same by type.
import { html } from 'hono/html'
import type { StatsView } from '../http/stats-view.js'
import { JOB_STATUSES } from '../job.js'
import type { Html } from './fragment.js'
import { bar, count, status, took } from './parts.js'

export function overview(stats: StatsView): Html {
  return html`<h1>Overview</h1>${paused(stats)}${depth(stats)}${slots(stats)}${speed(stats)}${types(stats)}`
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

function slots({ slots, max_workers, threads }: StatsView): Html {
  const busy = slots.filter(({ job }) => job !== null).length
  const rows = slots.map(({ slot, job }) => {
    if (job === null) return html`<tr><th scope="row">${slot}</th><td colspan="4" class="quiet">free</td></tr>`
    const { id, type, attempt, progress, progress_note } = job
    return html`<tr><th scope="row">${slot}</th><td>${type}</td><td><a class="mono" href="/ui/jobs/${id}">${id}</a></td>
<td>${bar(progress, `${type} in slot ${slot}`)} ${progress} %</td><td>${progress_note ?? `attempt ${attempt}`}</td></tr>`
  })
  return html`<section aria-labelledby="slots"><h2 id="slots">Slots</h2>
<p>${busy} of ${max_workers} busy, ${threads} ${threads === 1 ? 'thread' : 'threads'}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="slots"><table><thead><tr><th scope="col">Slot</th><th scope="col">Type</th><th scope="col">Job</th><th scope="col">Progress</th><th scope="col">Note</th></tr></thead><tbody>${rows}</tbody></table></div></section>`
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
<table><thead><tr><th scope="col">Last</th><th scope="col">Completed</th><th scope="col">Failed</th><th scope="col">Slots used</th></tr></thead><tbody>${rows}</tbody></table></section>
<section aria-labelledby="times"><h2 id="times">Times, last 15 min</h2>
<table><thead><tr><th scope="col"></th><th scope="col">p50</th><th scope="col">p95</th><th scope="col">p99</th><th scope="col">Longest</th></tr></thead><tbody>${measures}</tbody></table></section></div>`
}

function types({ types }: StatsView): Html {
  const rows = Object.entries(types).map(
    ([name, type]) =>
      html`<tr><th scope="row"><a href="/ui/jobs?type=${encodeURIComponent(name)}">${name}</a></th><td>${count(type.pending)}</td><td>${count(type.processing)}</td><td>${count(type.completed_jobs)}</td><td>${count(type.failed_jobs)}</td><td>${took(type.wait_ms.p95)}</td><td>${took(type.run_ms.p95)}</td></tr>`,
  )
  const body = rows.length === 0 ? html`<tr><td colspan="7" class="quiet">no jobs yet</td></tr>` : rows
  return html`<section aria-labelledby="types"><h2 id="types">Types</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="types"><table><thead><tr><th scope="col">Type</th><th scope="col">Pending</th><th scope="col">Running</th><th scope="col">Completed</th><th scope="col">Failed</th><th scope="col">Wait p95</th><th scope="col">Run p95</th></tr></thead><tbody>${body}</tbody></table></div></section>`
}
