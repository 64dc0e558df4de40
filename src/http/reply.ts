// Answers as JSON, and routes that know which methods they have.
import type { Express, NextFunction, Request, Response } from 'express'
import type { Scope } from '../api-key.js'
import { ServiceError } from '../errors.js'
import type { JsonText } from '../job.js'
import { requireScope } from './auth.js'

export type Handler = (req: Request, res: Response) => Promise<void> | void
type Method = 'get' | 'post' | 'put' | 'patch' | 'delete'

/**
 * Registers `path` with its methods; any other is a 405 that names them (RFC 9110 §15.5.6). Reading takes a key with
 * `jobs:read`, everything else one with `jobs:write`, or with `change` where that is given.
 */
export function route(
  app: Express,
  path: string,
  handlers: Partial<Record<Method, Handler>>,
  change: Scope = 'jobs:write',
): void {
  const methods = Object.keys(handlers) as Method[]
  const allow = methods.flatMap((method) => (method === 'get' ? ['GET', 'HEAD'] : method.toUpperCase())).join(', ')
  for (const method of methods) {
    app[method](path, (req: Request, res: Response, _next: NextFunction) => {
      requireScope(res, method === 'get' ? 'jobs:read' : change)
      return handlers[method]?.(req, res)
    })
  }
  app.all(path, (req: Request, res: Response) => {
    res.setHeader('Allow', allow)
    if (req.method !== 'OPTIONS') throw new ServiceError('method_not_allowed', `${req.method} is not one of ${allow}`)
    res.statusCode = 204
    res.end()
  })
}

export function sendJson(res: Response, status: number, body: unknown): void {
  sendJsonText(res, status, JSON.stringify(body))
}

export function sendJsonText(res: Response, status: number, text: JsonText): void {
  res.statusCode = status
  res.setHeader('Content-Type', 'application/json; charset=utf-8')
  res.setHeader('Content-Length', Buffer.byteLength(text))
  res.end(text)
}
