// What all pages have: head, navigation, and the part of the page that stays up to date.
import { html } from 'hono/html'
import type { Html } from './fragment.js'

const PAGES = [
  ['/ui/', 'Overview'],
  ['/ui/jobs', 'Jobs'],
  ['/ui/schedules', 'Schedules'],
  ['/ui/workers', 'Workers'],
] as const

export interface View {
  title: string
  /** What stands above, and does not change under somebody's hands. */
  head?: Html | undefined
  body: Html
  /** Where the stream is that keeps `body` up to date; null: it does not change any more. */
  live: string | null
}

/** The scripts are not deferred: htmx begins with what is there when the document is whole, its extension has to be. */
export function page({ title, head, body, live }: View, path: string): Html {
  const links = PAGES.map(([href, name]) => {
    const here = href === path ? html` aria-current="page"` : ''
    return html`<a href="${href}"${here}>${name}</a>`
  })
  const stream = live === null ? '' : html` hx-sse:connect="${live}" hx-sse:close="done" hx-swap="innerMorph"`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="htmx-config" content='{"includeIndicatorCSS":false,"morphIgnore":["data-htmx-powered","open"]}'>
<title>${title} · jobmill</title>
<link rel="icon" href="/ui/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/ui/assets/pages.css">
<script src="/ui/assets/htmx.js"></script>
<script src="/ui/assets/hx-sse.js"></script>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header><a class="name" href="/ui/">jobmill</a><nav aria-label="Pages">${links}</nav></header>
<main id="main">${head ?? ''}<div${stream}>${body}</div></main>
</body>
</html>
`
}
