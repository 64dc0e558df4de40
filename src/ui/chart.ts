// A chart of the last hour: its figures as a table, from which a script draws the lines.
import { html } from 'hono/html'
import type { Html } from './fragment.js'
import { count } from './parts.js'

const MINUTE_MS = 60_000

/** `series` are jobs by minute, the last of which ends at `ends_at` (RFC 3339). The script puts its drawing into the last element. */
export function chart(id: string, title: string, ends_at: string, series: Record<string, readonly number[]>): Html {
  const names = Object.keys(series)
  const [first = []] = Object.values(series)
  const rows = first.map((_, i) => {
    const begins_at = new Date(Date.parse(ends_at) - MINUTE_MS * (first.length - i)).toISOString().slice(11, 16)
    return html`<tr><th scope="row">${begins_at}</th>${names.map((name) => html`<td>${series[name]?.[i] ?? 0}</td>`)}</tr>`
  })
  const lines = names.map((name) => ({ name, values: series[name] }))
  const data = JSON.stringify({ ends_at: Date.parse(ends_at), series: lines })
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
<p class="quiet">${names.map((name) => `${count(sum(series[name]))} ${name}`).join(', ')} in the last hour</p>
<div class="chart" data-series="${data}" hx-morph-skip-children aria-hidden="true"></div>
<details><summary>By the minute (UTC)</summary><table><thead><tr><th scope="col">From</th>${names.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows}</tbody></table></details></section>`
}

const sum = (values: readonly number[] = []) => values.reduce((sum, n) => sum + n, 0)
