// The workers of this node: how many jobs may run at once, and what runs.
import { html } from 'hono/html'
import type { StatsView } from '../http/stats-view.js'
import type { Html } from './fragment.js'
import { slotTable } from './overview.js'
import { button } from './parts.js'

/** What somebody may be typing into stands above what is kept up to date. */
export function workerForms({ max_workers }: StatsView, most: number): Html {
  return html`<h1>Workers</h1>
<div class="filters"><form method="post" action="/ui/workers/scale"><label>Slots <input type="number" name="max_workers" value="${max_workers}" min="1" max="${most}" required></label><button type="submit">Set</button></form></div>`
}

export function workerSlots(stats: StatsView): Html {
  const { max_workers, threads, node, paused, paused_types } = stats
  const pauses = paused ? 'all types are paused' : `paused: ${paused_types.join(', ') || 'no type'}`
  return html`<p>Node ${node}: ${max_workers} ${max_workers === 1 ? 'slot' : 'slots'}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${pauses}</p>
<div class="buttons">${button('/ui/workers/pause', 'Pause all types', { disabled: paused })}${button('/ui/workers/resume', 'Resume all types', { disabled: !paused })}</div>
${slotTable(stats)}`
}
