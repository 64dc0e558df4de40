// The page that shows the description of the API: Scalar makes all of it.
import { html } from 'hono/html'
import type { Html } from './fragment.js'

export function docsPage(): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · jobmill</title>
<link rel="icon" href="/ui/assets/icon.svg">
<script src="/ui/assets/scalar.js" defer></script>
<script src="/ui/assets/docs.js" defer></script>
</head>
<body>
<div id="docs"></div>
<noscript>This page needs scripts; <a href="/openapi.json">the description</a> itself does not.</noscript>
</body>
</html>`
}
