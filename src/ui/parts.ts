// The pieces that several pages show: states, bars, times, counts.
import { html } from 'hono/html'
import { type JobStatus, timestamp } from '../job.js'
import { formatDuration } from '../span.js'
import type { Html } from './fragment.js'

const MINUTE = 60_000
const HOUR = 3_600_000
const DAY = 86_400_000

export const status = (name: JobStatus): Html => html`<span class="status ${name}">${name}</span>`

/** `label` says of what, to those who cannot see where it stands. */
export const bar = (percent: number, label: string): Html =>
  html`<progress max="100" value="${percent}" aria-label="${label}">${percent} %</progress>`

/** With the figure beside it. */
export const measured = (percent: number, label: string): Html =>
  html`<span class="measured">${bar(percent, label)} ${percent} %</span>`

export const count = (n: number): string => n.toLocaleString('en-US')

/** Rounded, as people say it: "3 h". */
export function age(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < MINUTE) return `${Math.round(ms / 1_000)} s`
  if (ms < HOUR) return `${Math.round(ms / MINUTE)} min`
  return ms < DAY ? `${Math.round(ms / HOUR)} h` : `${Math.round(ms / DAY)} d`
}

/**
 * Milliseconds since 1970; null on pages that are kept up to date: scripts count the ages there, and nothing is sent for
 * them.
 */
export type Now = number | null

/** Machine-readable, with the age for people. */
export const ago = (at: number, now: Now): Html => moment(at, now === null ? null : `${age(now - at)} ago`)

export const ahead = (at: number, now: Now): Html =>
  moment(at, now === null ? null : at <= now ? 'now' : `in ${age(at - now)}`)

function moment(at: number, words: string | null): Html {
  const exact = timestamp(at)
  return html`<time datetime="${exact}" title="${exact}" data-age>${words ?? exact.slice(0, 19).replace('T', ' ')}</time>`
}

/** Characters that nobody sees, or that turn round what stands beside them, as the escapes that JSON has for them. */
export const visible = (text: string): string =>
  text.replaceAll(/\p{Bidi_Control}|(?![\t\n])\p{Cc}/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })

/** Narrow pages show the end of an id only: that of a moment's jobs begin alike. */
export const jobLink = (id: string): Html =>
  html`<a class="mono" href="/ui/jobs/${id}"><span class="head">${id.slice(0, -12)}</span>${id.slice(-12)}</a>`

/** Milliseconds of a measurement; there may be none. */
export const took = (ms: number | null): string => (ms === null ? '–' : age(ms))

export const limit = (ms: number): string => formatDuration(ms)

/** A list of terms; what is null is left out. */
export function facts(entries: readonly (readonly [string, Html | string | number | null])[]): Html {
  const shown = entries.filter(([, value]) => value !== null)
  return html`<dl class="facts">${shown.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`
}

/**
 * Rows of a table that can be scrolled where it is wider than its page. `name` is the id of the heading above it, or says
 * what it lists; `none` stands where there are no rows.
 */
export function table(name: string, columns: readonly string[], rows: readonly Html[], none: string): Html {
  const label = /^[a-z]/.test(name) ? html`aria-labelledby="${name}"` : html`aria-label="${name}"`
  const body = rows.length === 0 ? html`<tr><td colspan="${columns.length}" class="quiet">${none}</td></tr>` : rows
  return html`<div class="scroll" tabindex="0" role="region" ${label}><table><thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead><tbody>${body}</tbody></table></div>`
}

/**
 * A form of one button: it works without scripts. One that does something else has another id: what is under somebody's
 * hands never turns into it. `of` says whose it is where several stand on a page.
 */
export function button(action: string, label: string, { disabled = false, of = '' } = {}): Html {
  const id = action.replaceAll(/[^\w-]/g, '-')
  const name = of === '' ? '' : html` aria-label="${label} ${of}"`
  return html`<form id="do${id}" method="post" action="${action}"><button type="submit"${name}${disabled ? html` disabled` : ''}>${label}</button></form>`
}

/** Both stand where they stand, whatever the job does: a click that comes late does not do the other. */
export function jobButtons(id: string, final: boolean, of = ''): Html {
  const cancel = button(`/ui/jobs/${id}/cancel`, 'Cancel', { disabled: final, of })
  return html`<div class="buttons">${cancel}${button(`/ui/jobs/${id}/rerun`, 'Run again', { disabled: !final, of })}</div>`
}
