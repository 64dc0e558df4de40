// The routes of the description: OpenAPI as JSON, and the page that shows it.
import type { Express } from 'express'
import { VERSION } from '../build.js'
import type { JobTypes } from '../job-types.js'
import { docsPage } from '../ui/docs.js'
import { etagOf, isKnown } from './conditions.js'
import { sendDocs } from './html.js'
import { describeApi } from './openapi/document.js'
import { route, sendJsonText } from './reply.js'

export interface DescriptionRoutes {
  types: JobTypes
}

export function descriptionRoutes(app: Express, { types }: DescriptionRoutes): void {
  let made: { text: string; etag: string } | null = null

  /** Types are those of the start: it never changes. Most processes are never asked for it. */
  function description() {
    if (made !== null) return made
    const text = JSON.stringify(describeApi(types, VERSION))
    made = { text, etag: etagOf(text) }
    return made
  }

  route(app, '/openapi.json', {
    get(req, res) {
      const { text, etag } = description()
      res.setHeader('ETag', etag)
      res.setHeader('Cache-Control', 'private, no-cache')
      if (!isKnown(req, etag)) return sendJsonText(res, 200, text)
      res.statusCode = 304
      res.end()
    },
  })

  route(app, '/docs', {
    get: (_req, res) => sendDocs(res, docsPage()),
  })
}
