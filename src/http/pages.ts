// How pages are served: as a whole, as the stream that keeps them up to date, and what their forms ask for.
import type { Express, Request, Response } from 'express'
import type { Scope } from '../api-key.js'
import type { Html } from '../ui/fragment.js'
import { page } from '../ui/layout.js'
import { readBody } from './body.js'
import { sendPage } from './html.js'
import type { FollowPage, Rendering, Watch } from './live-pages.js'
import { route } from './reply.js'

/** A form writes three characters for a byte that has no letter (URL standard §5). */
const FORM_FACTOR = 3

/** A page, with what it is about now. */
interface Page extends Rendering {
  title: string
  /** What stands above and does not change under somebody's hands. */
  head?: Html
  /** Whether it has charts. */
  charts?: boolean
}

/** What a form answers where it does not lead elsewhere. */
export interface FormAnswer {
  status: number
  title: string
  body: Html
}

export interface Pages {
  /** The page at `path`, below /ui/, and at /ui/live… its stream. */
  show(path: string, read: ReadPage, more?: MoreOfPage): void
  /** What a form asks for: `action` answers the path of the page that shows what came of it, or a page. */
  form(path: string, action: FormAction, scope?: Scope): void
}

interface MoreOfPage {
  /** What it shows may change within a second. */
  watch?(req: Request): Watch
  /** What its own form asks for, which is sent to the same path. */
  action?: FormAction
}

/** `live`: for the stream. */
type ReadPage = (req: Request, live: boolean) => Promise<Page>
type FormAction = (req: Request, body: unknown, res: Response) => Promise<string | FormAnswer>

export function createPages(app: Express, live: FollowPage, body_limit: number): Pages {
  return {
    show(path, read, { watch, action } = {}) {
      route(app, path, {
        ...(action === undefined ? {} : { post: answering(action) }),
        async get(req, res) {
          const { title, head, body, over, charts } = await read(req, false)
          const stream = over ? null : req.originalUrl.replace(/^\/ui/, '/ui/live')
          sendPage(res, 200, page({ title, head, body, live: stream, charts }, req.path))
        },
      })
      route(app, path.replace(/^\/ui/, '/ui/live'), {
        async get(req, res) {
          // What is wrong with it is told before the stream begins.
          await read(req, true)
          live(res, req.originalUrl, () => read(req, true), watch?.(req))
        },
      })
    },
    form(path, action, scope) {
      route(app, path, { post: answering(action) }, scope)
    },
  }

  function answering(action: FormAction) {
    return async (req: Request, res: Response): Promise<void> => {
      const answer = await action(req, await readBody(req, FORM_FACTOR * body_limit), res)
      if (typeof answer === 'string') res.redirect(303, answer)
      else sendPage(res, answer.status, page({ title: answer.title, body: answer.body, live: null }, req.path))
    }
  }
}
