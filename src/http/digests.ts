// The routes of digests: what applications tell them, and what their next mail would say.
import type { Express, Request } from 'express'
import { z } from 'zod'
import { type DigestRules, oneLine } from '../digests/events.js'
import { digestPreview, digestSummary, nextOf, scheduleOf } from '../digests/view.js'
import { ServiceError } from '../errors.js'
import { inspect } from '../explain.js'
import type { Schedule, Store } from '../store/store.js'
import { invalid } from '../submission.js'
import { readBody } from './body.js'
import { readNoQuery } from './query.js'
import { route, sendJson } from './reply.js'

export interface DigestRoutes {
  store: Store
  digests: readonly DigestRules[]
  body_limit: number
  /** Milliseconds since 1970. */
  now(): number
  /** @throws ServiceError draining */
  refuseWhileDraining(): void
}

const MAX_KIND = 64
const MAX_TEXT = 1_000

/** Line breaks become spaces: a mail shows one event a line. */
const line = (max: number) => {
  const error = `must be a text of 1 to ${max} characters`
  return z.string(error).max(max, error).transform(oneLine).pipe(z.string().min(1, error)).meta({ minLength: 1 })
}

export const newEvent = z.strictObject({
  kind: line(MAX_KIND).describe('Under which it is counted.'),
  text: line(MAX_TEXT),
})

export function digestRoutes(app: Express, options: DigestRoutes): void {
  const { store, digests, body_limit, now, refuseWhileDraining } = options

  route(app, '/digests', {
    async get(req, res) {
      readNoQuery(req.query)
      sendJson(res, 200, { digests: await Promise.all(digests.map(({ name }) => digestSummary(store, name))) })
    },
  })

  route(app, '/digests/:name/events', {
    async post(req, res) {
      const body = await readBody(req, body_limit)
      refuseWhileDraining()
      const digest = find(req)
      if (body === undefined)
        throw new ServiceError('malformed_request', 'the body is empty, send {"kind": …, "text": …}')
      const checked = inspect(newEvent, body)
      if (!checked.ok) throw invalid('invalid_request', checked.findings)
      const schedule = await scheduleOf(store, digest.name)
      if (!(await store.addDigestEvent(digest, { ...checked.data, created_at: now() }))) throw full(schedule)
      sendJson(res, 202, { digest: digest.name, next_at: nextOf(schedule) })
    },
  })

  route(app, '/digests/:name/preview', {
    async get(req, res) {
      readNoQuery(req.query)
      sendJson(res, 200, await digestPreview(store, find(req).name))
    },
  })

  /** The time until its next mail is the time until there is room. */
  function full({ next_at }: Schedule): ServiceError {
    const retry_after = next_at === null ? undefined : Math.max(1, Math.ceil((next_at - now()) / 1_000))
    const detail = 'what waits for its next mail is as much as that can hold: send this event after it'
    return new ServiceError('digest_full', detail, retry_after === undefined ? {} : { retry_after })
  }

  const find = (req: Request) => findDigest(String(req.params.name), digests)
}

/** @throws ServiceError digest_not_found */
export function findDigest(name: string, digests: readonly DigestRules[]): DigestRules {
  const digest = digests.find((one) => one.name === name)
  if (digest !== undefined) return digest
  const known = digests.length === 0 ? 'none is configured' : `there are ${digests.map(({ name }) => name).join(', ')}`
  throw new ServiceError('digest_not_found', `there is no such digest: ${known}`)
}
