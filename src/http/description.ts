// The routes of the description: OpenAPI as JSON, and the page that shows it.
import type { Express } from 'express'
import { VERSION } from '../build.js'
import type { JobTypes } from '../job-types.js'
import { docsPage } from '../ui/docs.js'
import { etagOf, isKnown } from './conditions.js'
import { sendDocs } from './html.js'
import { route, sendJsonText } from './reply.js'

export interface DescriptionRoutes {
  types: JobTypes
}

export function descriptionRoutes(app: Express, { types }: DescriptionRoutes): void {
  let made: Promise<{ text: string; etag: string }> | null = null

  /** Types are those of the start: it never changes. Most processes are never asked for it, and start without its schemas. */
  async function describe() {
    const { describeApi } = await import('./openapi/document.js')
    const text = JSON.stringify(describeApi(types, VERSION))
    return { text, etag: etagOf(text) }
  }

  route(app, '/openapi.json', {
    async get(req, res) {
      made ??= describe()
      const { text, etag } = await made
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
