// The list of jobs: filters, search by id, and what each is doing.
import { html } from 'hono/html'
import { isFinal, JOB_STATUSES, type Job } from '../job.js'
import type { Html } from './fragment.js'
import { ago, ahead, bar, status } from './parts.js'

/** As they stand in the address. */
export interface JobFilters {
  status: string
  type: string
  tag: string
}

export interface JobList {
  jobs: readonly Job[]
  /** The address of the next page; null: there is none. */
  next: string | null
  now: number
}

export function jobList({ jobs, next, now }: JobList): Html {
  const rows = jobs.map((job) => row(job, now))
  const body = rows.length === 0 ? html`<tr><td colspan="7" class="quiet">no jobs fit</td></tr>` : rows
  const more = next === null ? '' : html`<p><a href="${next}">Older jobs</a></p>`
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table><thead><tr><th scope="col">Job</th><th scope="col">Type</th><th scope="col">Status</th><th scope="col">Attempt</th><th scope="col">Progress</th><th scope="col">Submitted</th><th scope="col">Why</th></tr></thead><tbody>${body}</tbody></table></div>${more}`
}

export function jobFilters(filter: JobFilters, types: readonly string[]): Html {
  const options = (names: readonly string[], chosen: string) =>
    ['', ...names].map(
      (name) =>
        html`<option value="${name}"${name === chosen ? html` selected` : ''}>${name === '' ? 'any' : name}</option>`,
    )
  return html`<h1>Jobs</h1><div class="filters"><form action="/ui/jobs" role="search" aria-label="Filter">
<label>Status <select name="status">${options(JOB_STATUSES, filter.status)}</select></label>
<label>Type <select name="type">${options(types, filter.type)}</select></label>
<label>Tag <input name="tag" value="${filter.tag}" placeholder="name:value"></label>
<button type="submit">Show</button></form>
<form action="/ui/find" role="search" aria-label="Find by id"><label>Id <input name="id" required></label><button type="submit">Find</button></form></div>`
}

function row(job: Job, now: number): Html {
  const { id, type, attempt, max_attempts, progress, created_at, run_at, slot, reason_detail } = job
  const where = job.status === 'processing' && slot !== null ? html` in slot ${slot}` : ''
  const due = run_at !== null && !isFinal(job.status) ? html` ${ahead(run_at, now)}` : ''
  const done = job.status === 'processing' ? html`${bar(progress, `Job ${id}`)} ${progress} %` : `${progress} %`
  return html`<tr><th scope="row"><a class="mono" href="/ui/jobs/${id}">${id}</a></th><td>${type}</td><td>${status(job.status)}${where}${due}</td><td>${attempt} of ${max_attempts}</td><td>${done}</td><td>${ago(created_at, now)}</td><td>${reason_detail}</td></tr>`
}
