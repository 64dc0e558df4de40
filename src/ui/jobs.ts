// The list of jobs: filters, search by id, what each is doing, and what can be done to many at once.
import { html } from 'hono/html'
import { FINAL_STATUSES, isFinal, JOB_STATUSES, type Job, OPEN_STATUSES } from '../job.js'
import { BULK_LABELS, type BulkVerb } from './bulk.js'
import type { Html } from './fragment.js'
import { ago, ahead, jobButtons, jobLink, measured, type Now, status, table, visible } from './parts.js'

/** As they stand in the address, without those that are empty. */
export type JobFilters = Readonly<Record<string, string>>

export interface JobList {
  jobs: readonly Job[]
  /** The address of the next page; null: there is none. */
  next: string | null
  now: Now
}

/** Of the form whose boxes stand in the rows. */
const SELECTION = 'selection'

export function jobList({ jobs, next, now }: JobList): Html {
  const rows = jobs.map((job) => row(job, now))
  const more = next === null ? '' : html`<p><a href="${next}">Older jobs</a></p>`
  const columns = ['', 'Job', 'Type', 'Status', 'Slot', 'Attempt', 'Progress', 'Submitted', 'Why', 'Actions']
  return html`${table('Jobs', columns, rows, 'no jobs fit')}${more}`
}

export function jobFilters(filter: JobFilters, types: readonly string[]): Html {
  // What is chosen may be none of them: several statuses, or a type that is not there any more.
  const options = (names: readonly string[], chosen = '') =>
    [...new Set(['', ...names, chosen])].map(
      (name) =>
        html`<option value="${name}"${name === chosen ? html` selected` : ''}>${name === '' ? 'any' : name}</option>`,
    )
  return html`<h1>Jobs</h1><div class="filters"><form action="/ui/jobs" role="search" aria-label="Filter">
<label>Status <select name="status">${options(JOB_STATUSES, filter.status)}</select></label>
<label>Type <select name="type">${options(types, filter.type)}</select></label>
<label>Tag <input name="tag" value="${filter.tag ?? ''}" placeholder="name:value"></label>
<label>Batch <input name="batch" value="${filter.batch ?? ''}"></label>${kept(filter)}
<button type="submit">Show</button></form>
<form action="/ui/find" role="search" aria-label="Find by id"><label>Id <input name="id" required></label><button type="submit">Find</button></form></div>
${bulkActions(filter)}`
}

/** What the form has no field for stays as it is. */
function kept({ created_after }: JobFilters): Html {
  return created_after === undefined
    ? html``
    : html`<label>Created after <input name="created_after" value="${created_after}"></label>`
}

/** Only what can be done to jobs of that status. */
function bulkActions(filter: JobFilters): Html {
  const asked = filter.status?.split(',')
  const fits = (statuses: readonly string[]) => asked?.every((status) => statuses.includes(status)) ?? true
  const verbs: BulkVerb[] = [
    ...(fits(OPEN_STATUSES) ? (['cancel'] as const) : []),
    ...(fits(FINAL_STATUSES) ? (['rerun'] as const) : []),
  ]
  const selected = verbs.map(
    (verb) => html`<button type="submit" name="verb" value="${verb}">${BULK_LABELS[verb].selected}</button>`,
  )
  const { limit: _, ...conditions } = filter
  const all = verbs.map((verb) => {
    const query = new URLSearchParams({ verb, ...conditions })
    return html`<a class="button" href="/ui/jobs/all?${query}">${BULK_LABELS[verb].all}…</a>`
  })
  return html`<form id="${SELECTION}" class="buttons bulk" method="post" action="/ui/jobs/selected"><label class="box" data-scripts hidden><input type="checkbox" data-all="${SELECTION}"> All on this page</label>${selected}${all}</form>`
}

function row(job: Job, now: Now): Html {
  const { id, type, attempt, max_attempts, progress, created_at, run_at, slot, reason_detail } = job
  const due = run_at !== null && !isFinal(job.status) ? html` ${ahead(run_at, now)}` : ''
  const done = job.status === 'processing' ? measured(progress, `Job ${id}`) : `${progress} %`
  const box = html`<input type="checkbox" form="${SELECTION}" name="job.${id}" aria-label="Select ${id}">`
  return html`<tr id="job-${id}"><td>${box}</td><th scope="row">${jobLink(id)}</th><td>${type}</td><td>${status(job.status)}${due}</td><td>${job.status === 'processing' ? slot : ''}</td><td>${attempt} of ${max_attempts}</td><td>${done}</td><td>${ago(created_at, now)}</td><td class="note">${visible(reason_detail)}</td><td>${jobButtons(id, isFinal(job.status), id)}</td></tr>`
}
