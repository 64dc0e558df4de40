// The one writer of error answers: application/problem+json (RFC 9457).
import type { NextFunction, Request, Response } from 'express'
import { PROBLEMS, type ProblemCode, ServiceError } from '../errors.js'
import type { EventBus } from '../events.js'
import { type Html, problemFragment } from '../ui/fragment.js'
import { page } from '../ui/layout.js'
import { sendProblemFragment, wantsHtml } from './fragments.js'
import { sendPage } from './html.js'
import { loginFor } from './login.js'

/** Refusals that may have passed by then say when to come back. */
const RETRYABLE: readonly ProblemCode[] = ['queue_full', 'store_busy', 'outcome_unknown']

/**
 * The last handler of the app: what any other threw becomes an answer without a stack or a path. `retryAfter` answers
 * the whole seconds after which a full queue should have room.
 */
export function problemWriter(bus: EventBus, retryAfter: () => number) {
  // Express tells error handlers by their four parameters.
  return (error: unknown, req: Request, res: Response, _next: NextFunction): void => {
    const known = asServiceError(error)
    bus.publish({ kind: 'refused', code: known.code })
    if (known.code === 'internal_error') {
      const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined }
      bus.publish({ kind: 'request_failed', method: req.method, path: req.path, message, stack })
    }
    if (res.headersSent) return void res.destroy()
    const retry_after = known.retry_after ?? (RETRYABLE.includes(known.code) ? retryAfter() : null)
    if (retry_after !== null) res.setHeader('Retry-After', retry_after)
    if (wantsHtml(req)) sendProblemFragment(res, known)
    else if (isPage(req) && known.code === 'unauthorized') res.redirect(303, loginFor(req))
    else if (isPage(req)) sendPage(res, PROBLEMS[known.code].status, problemPage(req, known))
    else writeProblem(req, res, known)
  }
}

/** One of ours, which a person looks at. */
const isPage = ({ path, headers: { accept = '' } }: Request) =>
  /^\/(ui\/.*|docs)?$/.test(path) && accept.includes('text/html')

function problemPage({ path }: Request, { code, message, errors }: ServiceError): Html {
  const { title } = PROBLEMS[code]
  return page({ title, body: problemFragment(title, message, errors), live: null }, path)
}

function asServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  // Express itself rejects what it cannot decode in a path.
  if (error instanceof URIError) return new ServiceError('malformed_request', 'the path is not valid percent-encoding')
  return new ServiceError('internal_error', 'the server log says more')
}

function writeProblem(req: Request, res: Response, error: ServiceError): void {
  const { status, title } = PROBLEMS[error.code]
  const body = JSON.stringify({
    type: `urn:jobmill:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    // Without the query string, where a key may stand by mistake.
    instance: req.originalUrl.split('?', 1)[0],
    code: error.code,
    ...(error.errors === undefined ? {} : { errors: error.errors }),
  })
  res.statusCode = status
  res.setHeader('Content-Type', 'application/problem+json')
  // Whatever the route had announced before it failed.
  res.setHeader('Content-Length', Buffer.byteLength(body))
  res.end(body)
}
