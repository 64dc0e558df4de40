// Lets a person in to the pages: the API key is typed in once, and kept in a cookie that no script and no other site sees.
import type { Express, Response } from 'express'
import { z } from 'zod'
import { type ApiKey, BEARER_TOKEN } from '../api-key.js'
import { page } from '../ui/layout.js'
import { loginForm } from '../ui/login.js'
import { COOKIE, keyFinder } from './auth.js'
import { readBody } from './body.js'
import { sendPage } from './html.js'
import { route } from './reply.js'

export const LOGIN = '/ui/login'
const MOST_BYTES = 4_096

/** Before all that needs a key. Without keys there is nobody to let in. */
export function loginRoutes(app: Express, keys: readonly ApiKey[]): void {
  if (keys.length === 0) return
  const find = keyFinder(keys)
  const show = (res: Response, status: number, refused: boolean) =>
    sendPage(res, status, page({ title: 'Sign in', body: loginForm(LOGIN, refused), live: null }, LOGIN))

  route(app, LOGIN, {
    get: (_req, res) => show(res, 200, false),
    async post(req, res) {
      const { data } = z
        .object({ key: z.string().trim().regex(BEARER_TOKEN) })
        .safeParse(await readBody(req, MOST_BYTES))
      if (data === undefined || find(data.key) === null) return show(res, 403, true)
      res.setHeader('Set-Cookie', `${COOKIE}=${data.key}; Path=/; HttpOnly; SameSite=Strict`)
      res.redirect(303, '/ui/')
    },
  })
}
