// Keeps out requests whose ends are in doubt, and web pages of other sites, except those that are let in: bodies are read
// as JSON whatever their type.
import type { Socket } from 'node:net'
import type { NextFunction, Request, Response } from 'express'
import { ServiceError } from '../errors.js'

export function isLoopback(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    host === '::1' ||
    host === '[::1]' ||
    /^127(\.\d+){3}$/.test(host)
  )
}

const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS']

/**
 * Node takes the first of two Host headers, and an unknown Transfer-Encoding for none: what stands before jobmill may
 * read both otherwise (RFC 9112 §3.2, §6.1). The connection ends, as it is not known where its next request begins.
 */
export function framingGuard() {
  const ending = new WeakSet<Socket>()
  return (req: Request, res: Response, next: NextFunction): void => {
    // It came in one packet with one that was refused: it goes with the connection, unanswered and without effect.
    if (ending.has(req.socket)) return
    const doubt = oddFraming(req)
    if (doubt !== null) {
      ending.add(req.socket)
      res.setHeader('Connection', 'close')
      throw new ServiceError('malformed_request', doubt)
    }
    next()
  }
}

function oddFraming({ httpVersion, headers, rawHeaders }: Request): string | null {
  const { 'transfer-encoding': encoding } = headers
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length
  if (hosts > 1) return 'there are two Host headers'
  if (hosts === 0 && httpVersion === '1.1') return 'there is no Host header'
  if (encoding === undefined) return null
  if (httpVersion !== '1.1') return `HTTP/${httpVersion} has no Transfer-Encoding`
  return encoding.toLowerCase() === 'chunked' ? null : 'Transfer-Encoding must be chunked'
}

/**
 * `bound_to` is `server.host`. On loopback an unknown Host is another site's name that was pointed here (DNS rebinding).
 * Pages of `cors_origins` may do what they have a key for.
 */
export function browserGuards(bound_to: string, cors_origins: readonly string[]) {
  return (req: Request, res: Response, next: NextFunction): void => {
    const { host = '', origin, 'sec-fetch-site': site } = req.headers
    if (isLoopback(bound_to) && !isLoopback(host.replace(/:\d+$/, '').toLowerCase())) {
      throw new ServiceError('forbidden_host', 'this server answers to localhost, 127.0.0.1 and [::1]')
    }
    const listed = origin !== undefined && cors_origins.includes(origin)
    if (!listed && !SAFE_METHODS.includes(req.method) && (site === 'cross-site' || isForeign(origin, host))) {
      throw new ServiceError('forbidden_origin', 'a page of another site may not change anything here')
    }
    res.setHeader('X-Content-Type-Options', 'nosniff')
    res.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
    res.setHeader('Cache-Control', 'no-store')
    if (cors_origins.length > 0) res.vary('Origin')
    if (listed) allow(res, origin)
    if (listed && req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined) preflight(res)
    else next()
  }
}

function isForeign(origin: string | undefined, host: string): boolean {
  return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host.toLowerCase())
}

const EXPOSED =
  'Content-Disposition, Content-Range, ETag, HX-Trigger, Link, Location, Preference-Applied, Retry-After, WWW-Authenticate'
/** Those that htmx sends are among them. */
const ASKED =
  'Authorization, Content-Type, HX-Boosted, HX-Current-URL, HX-Request, HX-Request-Type, HX-Source, HX-Target, ' +
  'Idempotency-Key, If-None-Match, If-Range, Last-Event-ID, Prefer, Range, traceparent'

/** What the Fetch standard asks for, so that the page's scripts may read the answer. Cookies are never part of it. */
function allow(res: Response, origin: string): void {
  res.setHeader('Access-Control-Allow-Origin', origin)
  res.setHeader('Access-Control-Expose-Headers', EXPOSED)
}

/** A browser asks first, without a key, whether it may ask. */
function preflight(res: Response): void {
  res.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, POST, PUT, PATCH, DELETE')
  res.setHeader('Access-Control-Allow-Headers', ASKED)
  res.setHeader('Access-Control-Max-Age', '600')
  res.statusCode = 204
  res.end()
}
