// Lets a person in to the pages: the API key is typed in once, and kept in a cookie that no script and no other site sees.
import type { Express, Request, Response } from 'express'
import { z } from 'zod'
import { type ApiKey, BEARER_TOKEN } from '../api-key.js'
import { page } from '../ui/layout.js'
import { loginForm } from '../ui/login.js'
import { COOKIE, keyFinder } from './auth.js'
import { readBody } from './body.js'
import { sendPage } from './html.js'
import { route } from './reply.js'

const LOGIN = '/ui/login'
const MOST_BYTES = 4_096

/** Where a key is asked for, and where to go on from there. */
export const loginFor = ({ method, originalUrl }: Request): string =>
  method === 'GET' && originalUrl !== '/' ? `${LOGIN}?next=${encodeURIComponent(originalUrl)}` : LOGIN

/** A page of this server: never another site, whatever the address said. */
const nextOf = (asked: unknown): string =>
  typeof asked === 'string' && /^\/(ui\/|docs$)[\x21-\x5b\x5d-\x7e]*$/.test(asked) ? asked : '/ui/'

/** Before all that needs a key. Without keys there is nobody to let in. */
export function loginRoutes(app: Express, keys: readonly ApiKey[]): void {
  if (keys.length === 0) return
  const find = keyFinder(keys)
  const show = (res: Response, status: number, next: string) => {
    const body = loginForm(LOGIN, next, status !== 200)
    sendPage(res, status, page({ title: 'Sign in', body, live: null }, LOGIN))
  }

  route(app, LOGIN, {
    get: (req, res) => show(res, 200, nextOf(req.query.next)),
    async post(req, res) {
      const body = await readBody(req, MOST_BYTES)
      const { data } = z
        .object({ key: z.string().trim().regex(BEARER_TOKEN), next: z.unknown().optional() })
        .safeParse(body)
      if (data === undefined || find(data.key) === null) return show(res, 403, nextOf(Object(body).next))
      res.setHeader('Set-Cookie', `${COOKIE}=${data.key}; Path=/; HttpOnly; SameSite=Strict`)
      res.redirect(303, nextOf(data.next))
    },
  })
}
