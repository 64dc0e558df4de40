// Contents that are not JSON: HTML for htmx, streams, files.
import { z } from 'zod'
import { jobSummary } from './answers.js'
import { fragment, summary } from './examples.js'
import type { Content } from './operation.js'

/** A job as a piece of HTML, for pages with htmx. */
export const asHtml: Record<'text/html', Content> = {
  'text/html': { schema: z.string().describe('Where `HX-Request` is `true`.'), examples: { fragment } },
}

export const jobJsonOrHtml = (schema: z.ZodType, example: unknown) => ({
  'application/json': { schema, examples: { example } },
  ...asHtml,
})

const TOLD =
  'Messages without a name, each a job as in lists, as JSON. At first the jobs as they are, or what was missed since `Last-Event-ID`. ' +
  '`reset`: what was missed cannot be told, the jobs as they are follow. `goodbye`: the server stops.'

export const eventStream = (more: string): Record<'text/event-stream', Content> => ({
  'text/event-stream': {
    schema: z.string().describe(`Server-sent events (HTML standard §9.2). ${TOLD} ${more}`.trim()),
    examples: { example: `retry: 2000\n\nid: 3f2a91bc.17\ndata: ${JSON.stringify(summary)}\n\n` },
    items: jobSummary,
  },
})

/** Whatever a handler wrote. */
export const anyFile: Record<'*/*', Content> = {
  '*/*': { schema: z.unknown().describe('Its bytes, with the type that its job gave it.') },
}
