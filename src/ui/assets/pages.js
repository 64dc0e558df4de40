// What pages do beyond their HTML: ages that count, boxes that tick others, forms that are sent once, the log of a job that runs.
/* global htmx */
const SECOND = 1_000
const UNITS = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
]

const ageOf = (seconds) => {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, 's']
  return `${Math.round(seconds / size)} ${unit}`
}

function countAges() {
  for (const element of document.querySelectorAll('time[data-age]')) {
    const seconds = (Date.now() - Date.parse(element.dateTime)) / SECOND
    const text = seconds < 0 ? `in ${ageOf(-seconds)}` : `${ageOf(seconds)} ago`
    if (element.textContent !== text) element.textContent = text
  }
}
countAges()
setInterval(countAges, SECOND)
// Before what was swapped in is painted: it has the time itself.
document.addEventListener('htmx:after:swap', countAges)
document.addEventListener('htmx:sse:after:message', () => {
  countAges()
  // The heading of a job says what it does now.
  const heading = document.querySelector('main > div > h1')
  if (heading !== null) document.title = `${heading.textContent} · jobmill`
})

for (const element of document.querySelectorAll('[data-scripts]')) element.hidden = false

document.addEventListener('change', ({ target }) => {
  if (!target.matches('input[data-all]')) return
  for (const box of document.querySelectorAll(`input[form="${target.dataset.all}"]`)) box.checked = target.checked
})

// A double click is one click.
document.addEventListener('submit', (event) => {
  const { target: form } = event
  if (form.method !== 'post') return
  if (form.dataset.sent) event.preventDefault()
  form.dataset.sent = 'yes'
})
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[data-sent]')) delete form.dataset.sent
})

const connection = document.querySelector('#connection')
const RETRY = 3 * SECOND
document.addEventListener('htmx:sse:error', () => connection.removeAttribute('hidden'))
document.addEventListener('htmx:sse:after:message', () => connection.setAttribute('hidden', ''))
for (const event of ['htmx:response:error', 'htmx:error']) document.addEventListener(event, beginAgain)

/** A stream that broke off comes back by itself; one that never began does not. */
function beginAgain({ target }) {
  if (!target.hasAttribute?.('hx-sse:connect')) return
  connection.removeAttribute('hidden')
  setTimeout(() => {
    const fresh = target.cloneNode(true)
    fresh.removeAttribute('data-htmx-powered')
    target.replaceWith(fresh)
    htmx.process(fresh)
  }, RETRY)
}

// The stream of a page does not bring the lines of the log: they are asked for from where they end.
async function followLog() {
  const log = document.querySelector('[data-log]')
  const isOver = () => document.querySelector('[data-log-over]')?.dataset.logOver === 'true'
  for (let over = isOver(); log?.isConnected; over = isOver()) {
    const { run, line } = log.dataset
    const answer = await fetch(`${log.dataset.log}?cursor=${run}.${line}`).catch(() => null)
    if (answer?.ok) append(log, (await answer.json()).logs)
    if (over) return
    await new Promise((resolve) => setTimeout(resolve, SECOND))
  }
}

function append(log, lines) {
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8
  for (const { run, at, message } of lines) {
    if (String(run) !== log.dataset.run) Object.assign(log.dataset, { run, line: 0 })
    log.dataset.line = Number(log.dataset.line) + 1
    log.append(`${at}  ${message}\n`)
  }
  if (atEnd) log.scrollTop = log.scrollHeight
}
followLog()
