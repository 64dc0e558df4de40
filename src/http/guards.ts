// Keeps web pages of other sites out: bodies are read as JSON whatever their type, so browsers are held off here.
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

/** `bound_to` is `server.host`. On loopback an unknown Host is another site's name that was pointed here (DNS rebinding). */
export function browserGuards(bound_to: string) {
  return (req: Request, res: Response, next: NextFunction): void => {
    const { host = '', origin, 'sec-fetch-site': site } = req.headers
    if (isLoopback(bound_to) && !isLoopback(host.replace(/:\d+$/, '').toLowerCase())) {
      throw new ServiceError('forbidden_host', 'this server answers to localhost, 127.0.0.1 and [::1]')
    }
    if (!SAFE_METHODS.includes(req.method) && (site === 'cross-site' || isForeign(origin, host))) {
      throw new ServiceError('forbidden_origin', 'a page of another site may not change anything here')
    }
    res.setHeader('X-Content-Type-Options', 'nosniff')
    res.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
    res.setHeader('Cache-Control', 'no-store')
    next()
  }
}

function isForeign(origin: string | undefined, host: string): boolean {
  return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host.toLowerCase())
}
