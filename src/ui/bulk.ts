// Many jobs at once: what is about to happen to all that fit a filter, and what came of it.
import { html } from 'hono/html'
import type { Html } from './fragment.js'
import { count } from './parts.js'

export type BulkVerb = 'cancel' | 'rerun'
/** As it stands in the address. */
export type BulkFilter = Readonly<Record<string, string>>

/** What the buttons say that begin it. */
export const BULK_LABELS: Record<BulkVerb, { selected: string; all: string }> = {
  cancel: { selected: 'Cancel selected', all: 'Cancel all that fit' },
  rerun: { selected: 'Run selected again', all: 'Run all that fit again' },
}

export function bulkQuestion(verb: BulkVerb, filter: BulkFilter): Html {
  const what = verb === 'cancel' ? 'Jobs that run are asked to stop.' : 'Each begins anew, with all its attempts.'
  return html`<h1>${BULK_LABELS[verb].all}?</h1>
<ul>${conditions(verb, filter)}</ul><p>${what} At most 1,000 at a time, the newest first.</p>
<div class="buttons">${bulkForm(verb, filter, 'Yes, all')}<a class="button" href="/ui/jobs">Leave them as they are</a></div>`
}

/** `told` are counts by what happened; `cursor` is where the next ones begin, null: there are no more. */
export function bulkAnswer(
  verb: BulkVerb,
  filter: BulkFilter,
  told: Record<string, number>,
  cursor: string | null,
): Html {
  const counts = Object.entries(told).map(([what, n]) => html`<li>${count(n)} ${what}</li>`)
  const more =
    cursor === null
      ? ''
      : html`<p>There are more that fit.</p>${bulkForm(verb, { ...filter, cursor }, BULK_LABELS[verb].all)}`
  const none = counts.length === 0 ? html`<p>No job fitted.</p>` : ''
  return html`<h1>${verb === 'cancel' ? 'Cancelled' : 'Run again'}</h1>${none}<ul>${counts}</ul>${more}<p><a href="/ui/jobs">To the jobs</a></p>`
}

function conditions(verb: BulkVerb, filter: BulkFilter): Html[] {
  const any = verb === 'cancel' ? 'any that is not final' : 'completed, failed or cancelled'
  return Object.entries({ status: any, ...filter }).map(
    ([name, value]) => html`<li>${name}: <strong>${value}</strong></li>`,
  )
}

function bulkForm(verb: BulkVerb, filter: BulkFilter, label: string): Html {
  const fields = Object.entries({ verb, ...filter }).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  )
  return html`<form method="post" action="/ui/jobs/all">${fields}<button type="submit">${label}</button></form>`
}
