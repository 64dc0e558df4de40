// The form that asks for an API key.
import { html } from 'hono/html'
import type { Html } from './fragment.js'

/** `next` is the page that somebody wanted. */
export function loginForm(action: string, next: string, refused: boolean): Html {
  const problem = refused ? html`<p class="notice" role="alert">This server does not know that key.</p>` : ''
  return html`<h1>Sign in</h1>${problem}
<form class="filters" method="post" action="${action}"><input type="hidden" name="next" value="${next}"><label>API key <input type="password" name="key" required autocomplete="current-password"></label><button type="submit">Sign in</button></form>`
}
