// The form that submits a job, made from the schema of its type; where the job was refused, with what was typed in.
import { html } from 'hono/html'
import type { FieldError } from '../errors.js'
import type { Field, Typed } from '../http/form-fields.js'
import type { JobType } from '../job-types.js'
import { type Html, problemFragment } from './fragment.js'

export function submitTypes(types: readonly JobType[]): Html {
  const rows = types.map(({ name, description, disabled }) => {
    const path = `/ui/submit/${encodeURIComponent(name)}`
    const link = disabled === null ? html`<a href="${path}">${name}</a>` : name
    return html`<li>${link} <span class="quiet">${disabled === null ? description : `disabled: ${disabled}`}</span></li>`
  })
  return html`<h1>Submit a job</h1><ul class="choices">${rows}</ul>`
}

export interface SubmitForm {
  type: string
  description: string
  payload: readonly Field[]
  /** What every job may have beside its payload. */
  options: readonly Field[]
  typed: Typed
  /** Sent along, so that a form that is sent twice makes one job. */
  once: string
  /** Why the job was refused, if it was. */
  refusal: { title: string; detail: string; errors: readonly FieldError[] } | null
}

export function submitForm({ type, description, payload, options, typed, once, refusal }: SubmitForm): Html {
  const all = [...payload, ...options]
  const errors = refusal?.errors ?? []
  const elsewhere = errors.filter((error) => fieldAt(all, error.pointer) === undefined)
  const problem = refusal === null ? '' : problemFragment(refusal.title, refusal.detail, elsewhere)
  const first = all.find((field) => errors.some((error) => fieldAt(all, error.pointer) === field))
  const show = (field: Field) => {
    const own = errors.filter((error) => fieldAt(all, error.pointer) === field)
    return row(field, typed.get(field.pointer) ?? '', own, field === first)
  }
  const opened = options.some(({ pointer }) => (typed.get(pointer) ?? '') !== '')
  return html`<h1>Submit ${type}</h1><p class="quiet">${description}</p>${problem}
<form class="job" method="post" action="/ui/submit/${encodeURIComponent(type)}"><input type="hidden" name="once" value="${once}">
${payload.map(show)}
<details${opened ? html` open` : ''}><summary>Options</summary>${options.map(show)}</details>
<p><button type="submit">Submit</button></p></form>`
}

/** The field in whose value `pointer` is. */
function fieldAt(fields: readonly Field[], pointer: string): Field | undefined {
  return fields.find((field) => pointer === field.pointer || pointer.startsWith(`${field.pointer}/`))
}

/** `begin`: whoever types goes on here. */
function row(field: Field, text: string, errors: readonly FieldError[], begin: boolean): Html {
  const { pointer, label, required, hint } = field
  const about = `about ${pointer}`.replaceAll(/\s/g, '-')
  const inner = errors.map(({ pointer: at, detail }) => {
    const where = at === pointer ? '' : html`<code>${at.slice(pointer.length)}</code> `
    return html`<span class="error">${where}${detail}</span>`
  })
  const wrong = html`${errors.length > 0 ? html` aria-invalid="true"` : ''}${begin ? html` autofocus` : ''}`
  const star = required ? html` <span aria-hidden="true">*</span>` : ''
  return html`<div class="field"><label><span>${label}${star}</span>${control(field, text, about, wrong)}</label>
<div class="about" id="${about}">${inner}<span>${hint}</span></div></div>`
}

function control({ pointer, kind, required, choices }: Field, text: string, about: string, wrong: Html): Html {
  const attributes = html` name="${pointer}" aria-describedby="${about}"${required ? html` required` : ''}${wrong}`
  if (kind === 'choice') {
    const options = choices.map((value) => {
      const shown = value.startsWith('"') ? String(JSON.parse(value)) : value
      return html`<option value="${value}"${value === text ? html` selected` : ''}>${shown}</option>`
    })
    return html`<select${attributes}><option value="">–</option>${options}</select>`
  }
  // A line break that begins an area is not part of it (HTML standard §13.1.2.5).
  if (kind === 'text' || kind === 'lines' || kind === 'json')
    return html`<textarea rows="${kind === 'json' ? 4 : 2}"${attributes}${kind === 'json' ? html` spellcheck="false"` : ''}>${'\n'}${text}</textarea>`
  return html`<input${attributes}${kind === 'number' ? html` inputmode="decimal"` : ''} value="${text}">`
}
