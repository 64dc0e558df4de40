// The workers: how many jobs may run at once, and what runs.
import { html } from 'hono/html'
import type { StatsView } from '../http/stats-view.js'
import type { Node } from '../nodes.js'
import type { Html } from './fragment.js'
import { slotTable } from './overview.js'
import { button } from './parts.js'

/** What somebody may be typing into stands above what is kept up to date. */
export function workerForms(nodes: readonly Node[], most: number): Html {
  const options = nodes.map(({ id }) => html`<option value="${id}">${id}</option>`)
  const whose =
    nodes.length === 1
      ? ''
      : html`<label>Node <select name="node">${options}<option value="all">each of them</option></select></label>`
  return html`<h1>Workers</h1>
<div class="filters"><form method="post" action="/ui/workers/scale"><label>Slots <input type="number" name="max_workers" value="${nodes[0]?.max_workers ?? 1}" min="1" max="${most}" required></label>${whose}<button type="submit">Set</button></form></div>`
}

export function workerSlots(stats: StatsView): Html {
  const { max_workers, threads, slots, paused, paused_types } = stats
  const pauses = paused ? 'all types are paused' : `paused: ${paused_types.join(', ') || 'no type'}`
  const nodes = [...new Set(slots.map(({ node }) => node))]
  const whose = nodes.length === 1 ? `Node ${nodes[0]}` : `${nodes.length} nodes`
  return html`<p>${whose}: ${max_workers} ${max_workers === 1 ? 'slot' : 'slots'}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${pauses}</p>
<div class="buttons">${button('/ui/workers/pause', 'Pause all types', { disabled: paused })}${button('/ui/workers/resume', 'Resume all types', { disabled: !paused })}</div>
${slotTable(stats)}`
}
