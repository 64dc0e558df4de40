// A job as a piece of HTML for other people's pages: a bar that asks for itself while the job is not final, then what came of it.
import { html } from 'hono/html'
import type { FieldError } from '../errors.js'
import { isFinal, type Job } from '../job.js'

/** The piece as text; everything in it that came from outside is escaped. */
export type Html = ReturnType<typeof html>

/** How often a bar asks for the next one. */
const POLL = 'every 2s'

/** `base` stands before the paths of this server: a page of another site would take them for its own. */
export function jobFragment(job: Job, base: string): Html {
  const { id, type, status } = job
  const polling = isFinal(status)
    ? ''
    : html` hx-get="${base}/jobs/${id}/fragment" hx-trigger="${POLL}" hx-swap="outerHTML"`
  const body = isFinal(status) ? ended(job, base) : underWay(job, base)
  return html`<div class="jobmill-job" id="job-${id}" data-type="${type}" data-status="${status}"${polling}>${body}</div>`
}

/** What a page shows in place of a job that was refused. */
export function problemFragment(title: string, detail: string, errors: readonly FieldError[] = []): Html {
  const fields = errors.map(({ pointer, detail }) => html`<li><code>${pointer}</code> ${detail}</li>`)
  const list = fields.length === 0 ? '' : html`<ul>${fields}</ul>`
  return html`<div class="jobmill-problem" role="alert"><p>${title}: ${detail}</p>${list}</div>`
}

function underWay({ id, type, status, progress, progress_note }: Job, base: string): Html {
  const note = progress_note === null ? status : `${status}: ${progress_note}`
  return html`<progress max="100" value="${progress}" aria-label="${type}">${progress} %</progress> <span>${progress} % ${note}</span> ${button(`${base}/jobs/${id}/cancel`, 'Cancel')}`
}

function ended(job: Job, base: string): Html {
  const { id, type, status, error } = job
  if (status === 'completed') return html`<p>${type} completed</p>${artifacts(job, base)}`
  const why = error === null ? '' : html`: <code>${error.code}</code> ${error.message}`
  return html`<p role="alert">${type} ${status}${why}</p>${button(`${base}/jobs/${id}/rerun`, 'Run again')}`
}

function artifacts({ id, artifacts }: Job, base: string): Html[] {
  return (artifacts ?? []).map(({ name, content_type }) => {
    const url = `${base}/jobs/${id}/artifacts/${encodeURIComponent(name)}`
    const image = content_type.startsWith('image/') ? html`<img src="${url}" alt="${name}">` : ''
    return html`<p>${image}<a href="${url}" download="${name}">${name}</a></p>`
  })
}

/** Its answer is the next fragment. */
function button(url: string, label: string): Html {
  return html`<button type="button" hx-post="${url}" hx-target="closest .jobmill-job" hx-swap="outerHTML">${label}</button>`
}
