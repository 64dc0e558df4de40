// The probes, the metrics, and the description itself.
import { z } from 'zod'
import { json, type Operation } from './operation.js'
import { alive, ready } from './upkeep-answers.js'

export const healthOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/livez',
    id: 'isAlive',
    tag: 'health',
    summary: 'Whether the process answers and its loops turn',
    scope: null,
    answers: {
      200: {
        description: 'It does.',
        content: json(alive, { status: 'alive', loops: { ticker: { turned_at: '2026-07-01T08:30:00.000Z' } } }),
      },
    },
    problems: ['not_alive'],
  },
  {
    method: 'get',
    path: '/readyz',
    id: 'isReady',
    tag: 'health',
    summary: 'Whether jobs are taken',
    scope: null,
    answers: { 200: { description: 'They are.', content: json(ready, { status: 'ready' }) } },
    problems: ['not_ready'],
  },
  {
    method: 'get',
    path: '/metrics',
    id: 'getMetrics',
    tag: 'health',
    summary: 'Metrics for Prometheus',
    scope: 'jobs:read',
    answers: {
      200: {
        description: 'In its text format.',
        content: {
          'text/plain': { schema: z.string(), examples: { example: 'jobmill_slots{state="free"} 2\n' } },
        },
      },
    },
    problems: [],
  },
]

const document = z
  .looseObject({ openapi: z.string().regex(/^3\.1\./), info: z.looseObject({}), paths: z.looseObject({}) })
  .describe('OpenAPI 3.1.')

export const descriptionOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/openapi.json',
    id: 'getDescription',
    tag: 'description',
    summary: 'This description',
    description: 'With the payload schemas of the job types that this server has.',
    scope: 'jobs:read',
    headers: ['If-None-Match'],
    answers: {
      200: {
        description: 'The description.',
        content: json(document, { openapi: '3.1.1', info: { title: 'jobmill' }, paths: {} }),
        headers: ['ETag'],
      },
      304: { description: 'It is what `If-None-Match` names.', headers: ['ETag'] },
    },
    problems: [],
  },
  {
    method: 'get',
    path: '/docs',
    id: 'readDescription',
    tag: 'description',
    summary: 'This description as pages',
    scope: 'jobs:read',
    answers: {
      200: { description: 'A page.', content: { 'text/html': { schema: z.string() } } },
      303: {
        description: 'To the sign-in, for a browser without a key.',
        content: { 'text/html': { schema: z.string() } },
        headers: ['Location'],
      },
    },
    problems: [],
  },
]
