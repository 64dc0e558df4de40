// How pages are served: as a whole, as the stream that keeps them up to date, and what their forms ask for.
import type { Express, Request, Response } from 'express'
import type { Scope } from '../api-key.js'
import type { Html } from '../ui/fragment.js'
import { page } from '../ui/layout.js'
import { readBody } from './body.js'
import { sendPage } from './html.js'
import type { FollowPage, Rendering } from './live-pages.js'
import { route } from './reply.js'

/** A page, with what it is about now. */
interface Page extends Rendering {
  title: string
  /** What stands above and does not change under somebody's hands. */
  head?: Html
}

export interface Pages {
  /** The page at `path`, below /ui/, and at /ui/live… its stream. */
  show(path: string, read: (req: Request) => Promise<Page>): void
  /** What a form asks for: `action` answers the path of the page that shows what came of it. */
  form(path: string, action: (req: Request, body: unknown) => Promise<string>, scope?: Scope): void
}

export function createPages(app: Express, live: FollowPage, body_limit: number): Pages {
  return {
    show(path, read) {
      route(app, path, {
        async get(req, res) {
          const { title, head, body, over } = await read(req)
          const stream = over ? null : req.originalUrl.replace(/^\/ui/, '/ui/live')
          sendPage(res, 200, page({ title, head, body, live: stream }, req.path))
        },
      })
      route(app, path.replace(/^\/ui/, '/ui/live'), {
        async get(req, res) {
          // What is wrong with it is told before the stream begins.
          await read(req)
          live(res, req.originalUrl, () => read(req))
        },
      })
    },
    form(path, action, scope) {
      const post = async (req: Request, res: Response) => {
        const body = await readBody(req, body_limit)
        res.redirect(303, await action(req, body))
      }
      route(app, path, { post }, scope)
    },
  }
}
