// Digests: when the next mail of each goes out, and what it would say as things are.
import { html } from 'hono/html'
import type { digestPreview, digestSummary } from '../digests/view.js'
import type { Html } from './fragment.js'
import { ahead, count, facts, type Now, table } from './parts.js'

type Summary = Awaited<ReturnType<typeof digestSummary>>
type Preview = Awaited<ReturnType<typeof digestPreview>>

export function digestList(digests: readonly Summary[], now: Now): Html {
  const rows = digests.map(
    ({ name, next_at, events }) =>
      html`<tr><th scope="row"><a href="/ui/digests/${name}">${name}</a></th><td>${count(events)}</td><td>${next(next_at, now)}</td></tr>`,
  )
  return html`<h1>Digests</h1>${table('Digests', ['Name', 'Events that wait', 'Next mail'], rows, 'none is configured')}`
}

export function digestDetails({ name, schedule, next_at, events, to, subject, counts, body }: Preview, now: Now): Html {
  const kinds = Object.entries(counts).map(
    ([kind, n]) => html`<tr><th scope="row">${kind}</th><td>${count(n)}</td></tr>`,
  )
  return html`<h1>${name}</h1>
<section aria-labelledby="about"><h2 id="about">About</h2>${facts([
    ['Next mail', next(next_at, now)],
    ['Events that wait', count(events)],
    ['To', [to].flat().join(', ')],
    ['Subject', subject],
    ['Schedule', html`<a href="/ui/schedules/${schedule}">${schedule}</a>`],
  ])}</section>
<section aria-labelledby="kinds"><h2 id="kinds">Events that wait</h2>${table('kinds', ['Kind', 'Events'], kinds, 'none yet')}</section>
<section aria-labelledby="mail"><h2 id="mail">The mail, as things are</h2><pre tabindex="0">${body}</pre></section>`
}

function next(next_at: string | null, now: Now): Html | string {
  return next_at === null ? 'not scheduled' : ahead(Date.parse(next_at), now)
}
