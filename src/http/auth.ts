// Lets in who shows an API key (RFC 6750), once there is one: each route says which scope it needs.
import { timingSafeEqual } from 'node:crypto'
import type { NextFunction, Request, Response } from 'express'
import { type ApiKey, allows, type Scope, sha256Of } from '../api-key.js'
import { ServiceError } from '../errors.js'

const REALM = 'Bearer realm="jobmill"'
const HINT = 'send Authorization: Bearer with an API key of this server'

/** Everything that is registered after it needs a key. Without keys all is open, and the server bound to loopback. */
export function authentication(keys: readonly ApiKey[]) {
  const find = keyFinder(keys)

  function identify(req: Request, res: Response): ApiKey {
    const token = tokenOf(req) ?? cookieOf(req)
    if (token === null) throw unauthorized(res, REALM, HINT)
    const key = find(token)
    if (key === null) throw unauthorized(res, `${REALM}, error="invalid_token"`, 'the API key is not known here')
    return key
  }

  return (req: Request, res: Response, next: NextFunction): void => {
    if (keys.length > 0) res.locals.key = identify(req, res)
    next()
  }
}

/** Answers the one whose secret it is given, or null. */
export function keyFinder(keys: readonly ApiKey[]): (token: string) => ApiKey | null {
  const known = keys.map((key) => ({ key, hash: Buffer.from(key.sha256, 'hex') }))
  return (token) => {
    const hash = Buffer.from(sha256Of(token), 'hex')
    // All are compared, whichever fits: the time tells nothing.
    const [found] = known.filter((candidate) => timingSafeEqual(candidate.hash, hash))
    return found?.key ?? null
  }
}

/** Set for who has signed in to the pages; only pages of this site make a browser send it. */
export const COOKIE = 'jobmill_key'

function cookieOf({ headers: { cookie = '' } }: Request): string | null {
  return /(?:^|;\s*)jobmill_key=([^;\s]+)/.exec(cookie)?.[1] ?? null
}

/** The name of the API key that a request came with; "" where there are none. */
export function ownerOf(res: Response): string {
  const key: ApiKey | undefined = res.locals.key
  return key?.name ?? ''
}

/** @throws ServiceError insufficient_scope */
export function requireScope(res: Response, scope: Scope): void {
  const key: ApiKey | undefined = res.locals.key
  if (key === undefined || allows(key, scope)) return
  res.setHeader('WWW-Authenticate', `${REALM}, error="insufficient_scope", scope="${scope}"`)
  throw new ServiceError('insufficient_scope', `the key "${key.name}" has no scope ${scope}`)
}

function unauthorized(res: Response, challenge: string, detail: string): ServiceError {
  res.setHeader('WWW-Authenticate', challenge)
  return new ServiceError('unauthorized', detail)
}

/** The scheme has no case (RFC 9110 §11.1). Node joins what is sent twice, and that is no token. */
function tokenOf({ headers: { authorization = '' } }: Request): string | null {
  return /^bearer +(\S+)$/i.exec(authorization)?.[1] ?? null
}
