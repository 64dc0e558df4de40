// Workers and types: how many jobs may run at once, and which types do.
import { html } from 'hono/html'
import type { StatsView } from '../http/stats-view.js'
import type { JobType } from '../job-types.js'
import type { Html } from './fragment.js'
import { button, limit } from './parts.js'

export function workersPage(stats: StatsView, types: readonly JobType[], most: number): Html {
  const { max_workers, threads, paused, node } = stats
  return html`<h1>Workers</h1>
<p>Node ${node}: ${max_workers} ${max_workers === 1 ? 'slot' : 'slots'}, ${threads} ${threads === 1 ? 'thread' : 'threads'}</p>
<div class="filters"><form method="post" action="/ui/workers/scale"><label>Slots <input type="number" name="max_workers" value="${max_workers}" min="1" max="${most}" required></label><button type="submit">Set</button></form>
${paused ? button('/ui/workers/resume', 'Resume all types') : button('/ui/workers/pause', 'Pause all types')}</div>
${typeTable(types, stats)}`
}

function typeTable(types: readonly JobType[], { paused_types }: StatsView): Html {
  const rows = types.map((type) => {
    const { name, description, disabled, timeout_ms, retry_count, concurrency } = type
    const paused = paused_types.includes(name)
    const state = disabled !== null ? `disabled: ${disabled}` : paused ? 'paused' : 'enabled'
    const path = `/ui/types/${encodeURIComponent(name)}/${paused ? 'resume' : 'pause'}`
    return html`<tr><th scope="row"><a href="/ui/jobs?type=${encodeURIComponent(name)}">${name}</a></th><td>${description}</td><td>${state}</td><td>${limit(timeout_ms)}</td><td>${retry_count}</td><td>${concurrency ?? 'any'}</td><td>${button(path, paused ? `Resume ${name}` : `Pause ${name}`)}</td></tr>`
  })
  return html`<section aria-labelledby="types"><h2 id="types">Types</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="types"><table><thead><tr><th scope="col">Type</th><th scope="col">What it does</th><th scope="col">State</th><th scope="col">Timeout</th><th scope="col">Retries</th><th scope="col">At once</th><th scope="col"></th></tr></thead><tbody>${rows}</tbody></table></div></section>`
}
