// What all pages have: head, navigation, and the part of the page that stays up to date.
import { html } from 'hono/html'
import type { Html } from './fragment.js'

const PAGES = [
  ['/ui/', 'Overview'],
  ['/ui/jobs', 'Jobs'],
  ['/ui/submit', 'Submit'],
  ['/ui/schedules', 'Schedules'],
  ['/ui/digests', 'Digests'],
  ['/ui/types', 'Types'],
  ['/ui/workers', 'Workers'],
  ['/ui/nodes', 'Nodes'],
  ['/docs', 'API'],
] as const

export interface View {
  title: string
  /** What stands above, and does not change under somebody's hands. */
  head?: Html | undefined
  body: Html
  /** Where the stream is that keeps `body` up to date; null: it does not change any more. */
  live: string | null
  /** Whether it has charts. */
  charts?: boolean | undefined
}

const CHARTS = html`
<link rel="stylesheet" href="/ui/assets/uplot.css">
<script src="/ui/assets/uplot.js"></script>
<script src="/ui/assets/charts.js" defer></script>`

/** The scripts are not deferred: htmx begins with what is there when the document is whole, its extension has to be. */
export function page({ title, head, body, live, charts = false }: View, path: string): Html {
  const links = PAGES.map(([href, name]) => {
    const here = isUnder(path, href) ? html` aria-current="${href === path ? 'page' : 'true'}"` : ''
    return html`<a href="${href}"${here}>${name}</a>`
  })
  const stream = live === null ? '' : html` hx-sse:connect="${live}" hx-sse:close="done" hx-swap="innerMorph"`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="htmx-config" content='{"includeIndicatorCSS":false,"morphIgnore":["data-htmx-powered","open"],"noSwap":[204,304,"4xx","5xx"],"sse":{"reconnectMaxDelay":10000}}'>
<title>${title} · jobmill</title>
<link rel="icon" href="/ui/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/ui/assets/pages.css">
<link rel="stylesheet" href="/ui/assets/forms.css">
<script src="/ui/assets/htmx.js"></script>
<script src="/ui/assets/hx-sse.js"></script>
<script src="/ui/assets/pages.js" defer></script>${charts ? CHARTS : ''}
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header><a class="name" href="/ui/">jobmill</a><nav aria-label="Pages">${links}</nav></header>
<main id="main"><p id="connection" class="notice" role="status" hidden>Not kept up to date: the server does not answer.</p>${head ?? ''}<div${stream}>${body}</div></main>
</body>
</html>
`
}

/** The page of a job is one of the jobs. */
const isUnder = (path: string, href: string) => path === href || (href !== '/ui/' && path.startsWith(`${href}/`))
