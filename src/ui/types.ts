// Job types: what each does, whether it runs, its limits, and the schema of its payload.
import { html } from 'hono/html'
import type { StatsView } from '../http/stats-view.js'
import type { JobType } from '../job-types.js'
import type { Html } from './fragment.js'
import { button, count, facts, limit, table, took } from './parts.js'

export function typeList(types: readonly JobType[], stats: StatsView): Html {
  const rows = types.map((type) => {
    const { name, description, timeout_ms, retry_count, concurrency } = type
    return html`<tr><th scope="row"><a href="${pathOf(type)}">${name}</a></th><td>${description}</td><td>${stateOf(type, stats)}</td><td>${limit(timeout_ms)}</td><td>${retry_count}</td><td>${concurrency ?? 'any'}</td><td>${actions(type, stats)}</td></tr>`
  })
  const columns = ['Type', 'What it does', 'State', 'Timeout', 'Retries', 'At once', 'Actions']
  return html`<h1>Types</h1>${table('Types', columns, rows, 'no types')}`
}

export function typeDetails(type: JobType, stats: StatsView, payload_schema: object): Html {
  const { name, description, timeout_ms, retry_count, concurrency, reserved, rate, queue_size, backoff } = type
  const counts = stats.types[name]
  return html`<h1>${name}</h1><p>${description}</p>
${actions(type, stats)}
<section aria-labelledby="limits"><h2 id="limits">Limits</h2>${facts([
    ['State', stateOf(type, stats)],
    ['Timeout', limit(timeout_ms)],
    ['Retries', retry_count],
    ['Backoff', `${limit(backoff.base)}, times ${backoff.factor}, at most ${limit(backoff.max)}`],
    ['At once', concurrency ?? 'as many as there are slots'],
    ['Reserved slots', reserved],
    ['Rate', rate === null ? 'any' : `${count(rate.limit)} in ${limit(rate.per_ms)}`],
    ['Pending at most', queue_size ?? 'as many as all types'],
  ])}</section>
<section aria-labelledby="jobs"><h2 id="jobs">Jobs</h2>${counts === undefined ? html`<p class="quiet">none yet</p>` : jobsOf(counts)}
<p><a href="/ui/jobs?type=${encodeURIComponent(name)}">All jobs of it</a></p></section>
<section aria-labelledby="payload"><h2 id="payload">Payload (JSON Schema)</h2><pre tabindex="0">${JSON.stringify(payload_schema, null, 2)}</pre></section>`
}

function jobsOf(counts: StatsView['types'][string]): Html {
  return facts([
    ['Pending', count(counts.pending)],
    ['Running', count(counts.processing)],
    ['Completed', count(counts.completed_jobs)],
    ['Failed', count(counts.failed_jobs)],
    ['Wait, p95 of 15 min', took(counts.wait_ms.p95)],
    ['Run, p95 of 15 min', took(counts.run_ms.p95)],
  ])
}

const pathOf = ({ name }: JobType) => `/ui/types/${encodeURIComponent(name)}`

function stateOf({ name, disabled }: JobType, { paused, paused_types }: StatsView): string {
  if (disabled !== null) return `disabled: ${disabled}`
  return paused || paused_types.includes(name) ? 'paused' : 'enabled'
}

function actions(type: JobType, { paused_types }: StatsView): Html {
  const { name, disabled } = type
  const verb = paused_types.includes(name) ? 'resume' : 'pause'
  const submit = html`<a class="button" href="/ui/submit/${encodeURIComponent(name)}">Submit ${name}</a>`
  const pause = button(`${pathOf(type)}/${verb}`, `${verb === 'pause' ? 'Pause' : 'Resume'} ${name}`)
  return html`<div class="buttons">${disabled === null ? submit : ''}${pause}</div>`
}
