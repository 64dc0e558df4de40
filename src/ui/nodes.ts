// The nodes: which processes there are, and how each is doing.
import { html } from 'hono/html'
import type { Node } from '../nodes.js'
import type { Html } from './fragment.js'
import { ago, button, count, type Now, table } from './parts.js'

export function nodeList(nodes: readonly Node[], now: Now): Html {
  const rows = nodes.map(
    ({
      id,
      state,
      version,
      node_version,
      started_at,
      heartbeat_at,
      threads,
      trouble,
      ...node
    }) => html`<tr><th scope="row">${id}<br><span class="quiet">process ${node.pid} on ${node.host}</span></th>
<td>${state}${trouble === null ? '' : html`<br><span class="error">${trouble}</span>`}</td><td>${node.active_workers} of ${node.max_workers}</td><td>${threads}</td><td>${count(Math.round(node.memory_bytes / 1_048_576))} MiB</td><td>${ago(started_at, now)}</td><td>${ago(heartbeat_at, now)}</td><td>${version}<br><span class="quiet">Node.js ${node_version}</span></td><td>${drainButtons(id, state)}</td></tr>`,
  )
  const columns = ['Node', 'State', 'Slots busy', 'Threads', 'Memory', 'Started', 'Heartbeat', 'Version', 'Take jobs']
  return html`<h1>Nodes</h1>${table('Nodes', columns, rows, 'no nodes')}`
}

/** Both stand where they stand: a click that comes late does not do the other. */
function drainButtons(id: string, state: Node['state']): Html {
  const drain = button(`/ui/nodes/${id}/drain`, 'Drain', { disabled: state !== 'alive', of: id })
  return html`<div class="buttons">${drain}${button(`/ui/nodes/${id}/resume`, 'Resume', { disabled: state !== 'draining', of: id })}</div>`
}
