// Answers as HTML: pieces for other people's pages, and whole pages with a policy of their own.
import type { Response } from 'express'
import type { Html } from '../ui/fragment.js'

/** Nothing from elsewhere, nothing inline. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

export function sendHtml(res: Response, status: number, body: Html): void {
  const text = String(body)
  res.statusCode = status
  res.setHeader('Content-Type', 'text/html; charset=utf-8')
  res.setHeader('Content-Length', Buffer.byteLength(text))
  res.end(text)
}

/** Scalar makes its style sheets as it runs. */
const DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")

/** The page that shows the description of the API. */
export function sendDocs(res: Response, page: Html): void {
  res.setHeader('Content-Security-Policy', DOCS_POLICY)
  sendHtml(res, 200, page)
}

export function sendPage(res: Response, status: number, page: Html): void {
  res.setHeader('Content-Security-Policy', POLICY)
  sendHtml(res, status, page)
}
