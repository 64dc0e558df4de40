// A chart of the last hour: its figures as a table, from which a script draws the lines.
import { html } from 'hono/html'
import type { Html } from './fragment.js'
import { count } from './parts.js'

const MINUTE_MS = 60_000

interface Hour {
  /** When the last minute is over, and since when there are figures (RFC 3339). */
  ends_at: string
  since: string
}

/** `series` are jobs by minute. The script puts its drawing into an element of its own. */
export function chart(id: string, title: string, hour: Hour, series: Record<string, readonly number[]>): Html {
  const { ends_at, since } = hour
  const names = Object.keys(series)
  const [first = []] = Object.values(series)
  const rows = first.map((_, i) => {
    const begins_at = new Date(Date.parse(ends_at) - MINUTE_MS * (first.length - i)).toISOString().slice(11, 16)
    return html`<tr><th scope="row">${begins_at}</th>${names.map((name) => html`<td>${series[name]?.[i] ?? 0}</td>`)}</tr>`
  })
  const known = (Date.parse(ends_at) - Date.parse(since)) / MINUTE_MS
  const lines = names.map((name) => {
    // Before the start nothing was counted: that is not the same as none.
    return { name, values: series[name]?.map((n, i) => (first.length - i <= Math.ceil(known) ? n : null)) }
  })
  const data = JSON.stringify({ ends_at: Date.parse(ends_at), series: lines })
  return html`<section aria-labelledby="${id}"><h2 id="${id}">${title}</h2>
<p class="quiet">${names.map((name) => `${count(sum(series[name]))} ${name}`).join(', ')} in the last hour</p>
<div class="chart" data-series="${data}" hx-morph-skip-children aria-hidden="true"></div>
<details><summary>By the minute (UTC)</summary><table><thead><tr><th scope="col">From</th>${names.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows}</tbody></table></details></section>`
}

const sum = (values: readonly number[] = []) => values.reduce((sum, n) => sum + n, 0)
