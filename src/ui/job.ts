// One job: how far it is, what it was asked to do, its attempts with errors, its log, and what it made.
import { html } from 'hono/html'
import { isFinal, type JobWithPayload, timestamp } from '../job.js'
import type { Attempt, LogLine } from '../store/store.js'
import type { Why } from '../why.js'
import type { Html } from './fragment.js'
import {
  age,
  ago,
  ahead,
  bar,
  count,
  facts,
  jobButtons,
  jobLink,
  limit,
  type Now,
  status,
  table,
  visible,
} from './parts.js'

export interface JobDetails {
  job: JobWithPayload
  attempts: readonly Attempt[]
  /** Of the last run, from the line `first` on; null: the page has them, and asks for those that come. */
  log: { first: number; lines: readonly LogLine[] } | null
  why: Why
  now: Now
}

export function jobDetails({ job, attempts, log, why, now }: JobDetails): Html {
  return html`<h1>${job.type} <span aria-live="polite">${status(job.status)}</span></h1><p class="id">${job.id}</p>
${progress(job)}${jobButtons(job.id, isFinal(job.status))}${waits(why)}${about(job, now)}${made(job)}${content(job)}${timeline(attempts)}${logOf(job, log)}`
}

function progress({ type, progress, progress_note }: JobWithPayload): Html {
  return html`<p>${bar(progress, type)} ${progress} %${progress_note === null ? '' : ` · ${visible(progress_note)}`}</p>`
}

function waits({ waits_for, position }: Why): Html {
  if (waits_for.length === 0 && position === null) return html``
  const place = position === null ? '' : html`<p>It is number ${position} of those that wait.</p>`
  return html`<section aria-labelledby="why"><h2 id="why">Why it waits</h2>${place}<ul>${waits_for.map(({ detail }) => html`<li>${detail}</li>`)}</ul></section>`
}

function about(job: JobWithPayload, now: Now): Html {
  const { error, started_at, finished_at, run_at, schedule, batch_id, concurrency_key, tags } = job
  const tagged = Object.entries(tags).map(([name, value]) => html`<li>${name}: ${value}</li>`)
  return html`<section aria-labelledby="about"><h2 id="about">About</h2>${facts([
    ['Reason', visible(job.reason_detail)],
    ['Error', error === null ? null : html`<code>${error.code}</code> ${visible(error.message)}`],
    ['Submitted', ago(job.created_at, now)],
    ['Started', started_at === null ? null : ago(started_at, now)],
    ['Ended', finished_at === null ? null : ago(finished_at, now)],
    ['Took', started_at === null || finished_at === null ? null : age(finished_at - started_at)],
    ['Due', run_at === null ? null : ahead(run_at, now)],
    ['Attempt', `${job.attempt} of ${job.max_attempts}`],
    ['Interruptions', job.interruptions === 0 ? null : count(job.interruptions)],
    ['Priority', job.priority],
    ['Timeout', limit(job.timeout_ms)],
    ['Node', job.node === null ? null : `${job.node}, slot ${job.slot}`],
    ['Schedule', schedule === null ? null : html`<a href="/ui/schedules/${schedule}">${schedule}</a>`],
    ['Batch', batch_id === null ? null : html`<a class="mono" href="/ui/jobs?batch=${batch_id}">${batch_id}</a>`],
    ['Concurrency key', concurrency_key],
    ['Tags', tagged.length === 0 ? null : html`<ul>${tagged}</ul>`],
    [
      'Depends on',
      job.depends_on.length === 0 ? null : html`<ul>${job.depends_on.map((id) => html`<li>${jobLink(id)}</li>`)}</ul>`,
    ],
  ])}</section>`
}

function made({ id, artifacts }: JobWithPayload): Html {
  if (artifacts === null || artifacts.length === 0) return html``
  const links = artifacts.map(
    ({ name, bytes, content_type }) =>
      html`<li><a href="/jobs/${id}/artifacts/${encodeURIComponent(name)}" download="${name}">${name}</a> ${count(bytes)} bytes, ${content_type}</li>`,
  )
  return html`<section aria-labelledby="made"><h2 id="made">Artifacts</h2><ul>${links}</ul></section>`
}

function content({ payload, result }: JobWithPayload): Html {
  const answer =
    result === null ? '' : html`<section aria-labelledby="result"><h2 id="result">Result</h2>${json(result)}</section>`
  return html`<div class="columns"><section aria-labelledby="payload"><h2 id="payload">Payload</h2>${json(payload)}</section>${answer}</div>`
}

/** Characters of a payload or a result that a page shows. */
const MOST_SHOWN = 20_000

function json(text: string): Html {
  const shown = JSON.stringify(JSON.parse(text), null, 2)
  const rest =
    shown.length > MOST_SHOWN ? html`<p class="quiet">and ${count(shown.length - MOST_SHOWN)} characters more</p>` : ''
  return html`<pre tabindex="0">${visible(shown.slice(0, MOST_SHOWN))}</pre>${rest}`
}

function timeline(attempts: readonly Attempt[]): Html {
  if (attempts.length === 0) return html``
  const rows = attempts.map(({ run, attempt, started_at, finished_at, outcome, reason_detail, error, node, slot }) => {
    const stack =
      error?.stack === undefined || error.stack === null
        ? ''
        : html`<details><summary>Stack</summary><pre tabindex="0">${visible(error.stack)}</pre></details>`
    const why =
      error === null ? (reason_detail ?? '') : html`<code>${error.code}</code> ${visible(error.message)}${stack}`
    const lasted = finished_at === null ? 'goes on' : age(finished_at - started_at)
    return html`<tr><th scope="row">${attempt}</th><td>${run}</td><td><time datetime="${timestamp(started_at)}">${timestamp(started_at)}</time></td><td>${lasted}</td><td>${outcome ?? 'running'}</td><td>${why}</td><td>${node}, ${slot}</td></tr>`
  })
  return html`<section aria-labelledby="attempts"><h2 id="attempts">Attempts</h2>
${table('attempts', ['Attempt', 'Run', 'Started', 'Took', 'Outcome', 'Why', 'Node, slot'], rows, '')}</section>`
}

/** The page of a job that runs asks for the lines that come: its stream need not send all of them again and again. */
function logOf({ id, run, status }: JobWithPayload, log: JobDetails['log']): Html {
  const over = html`<span data-log-over="${String(isFinal(status))}"></span>`
  if (log === null) return html`<section id="log" hx-morph-skip></section>${over}`
  const { first, lines } = log
  const text = lines.map(({ at, message }) => `${timestamp(at)}  ${visible(message)}\n`).join('')
  const before = first === 1 ? '' : html`<p class="quiet">${count(first - 1)} lines before</p>`
  const next = first + lines.length - 1
  return html`<section id="log" hx-morph-skip aria-labelledby="log-of"><h2 id="log-of">Log of the last run</h2>${before}
<pre tabindex="0" data-log="/jobs/${id}/logs" data-run="${run}" data-line="${next}">${text}</pre><p><a href="/jobs/${id}/logs">Lines of all runs, as JSON</a></p></section>${over}`
}
