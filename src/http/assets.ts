// The files that the pages need, from this server alone. They come without a key: so does the page that asks for one.
import { fileURLToPath } from 'node:url'
import type { Express } from 'express'
import { BUILD } from '../build.js'
import { ServiceError } from '../errors.js'

const ASSETS: Record<string, [type: string, url: string]> = {
  'pages.css': ['text/css; charset=utf-8', new URL('../ui/assets/pages.css', import.meta.url).href],
  'forms.css': ['text/css; charset=utf-8', new URL('../ui/assets/forms.css', import.meta.url).href],
  'pages.js': ['text/javascript; charset=utf-8', new URL('../ui/assets/pages.js', import.meta.url).href],
  'charts.js': ['text/javascript; charset=utf-8', new URL('../ui/assets/charts.js', import.meta.url).href],
  'icon.svg': ['image/svg+xml', new URL('../ui/assets/icon.svg', import.meta.url).href],
  'htmx.js': ['text/javascript; charset=utf-8', import.meta.resolve('htmx.org/dist/htmx.min.js')],
  'docs.js': ['text/javascript; charset=utf-8', new URL('../ui/assets/docs.js', import.meta.url).href],
  // scripts/build.mjs puts it there.
  'scalar.js': ['text/javascript; charset=utf-8', new URL('src/ui/assets/scalar.js', BUILD).href],
  'hx-sse.js': ['text/javascript; charset=utf-8', import.meta.resolve('htmx.org/dist/ext/hx-sse.min.js')],
  'uplot.js': ['text/javascript; charset=utf-8', import.meta.resolve('uplot/dist/uPlot.iife.min.js')],
  'uplot.css': ['text/css; charset=utf-8', import.meta.resolve('uplot/dist/uPlot.min.css')],
}

export function assetRoutes(app: Express): void {
  app.get('/ui/assets/:name', (req, res) => {
    const [type, url] = (Object.hasOwn(ASSETS, req.params.name) && ASSETS[req.params.name]) || []
    if (type === undefined || url === undefined) throw new ServiceError('not_found', 'there is no such asset')
    res.setHeader('Content-Type', type)
    res.setHeader('Cache-Control', 'max-age=3600')
    res.sendFile(fileURLToPath(url), { cacheControl: false })
  })
}
