// Operations on digests: tell an event, see what the next mail would say.
import { newEvent } from '../digests.js'
import { digest } from './examples.js'
import { json, type Operation } from './operation.js'
import { OF_BODIES, OF_WRITES } from './problems.js'
import { digestAccepted, digestList, digestPreview } from './upkeep-answers.js'

const MAIL = '2 events since 2026-07-01T08:30:00.000Z\n\norder: 2\n\norder (2)\n  2026-07-01T08:30:00.000Z  order 17\n'

export const digestOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/digests',
    id: 'listDigests',
    tag: 'digests',
    summary: 'List digests',
    scope: 'jobs:read',
    answers: { 200: { description: 'Those of the configuration.', content: json(digestList, { digests: [digest] }) } },
    problems: ['invalid_query'],
  },
  {
    method: 'post',
    path: '/digests/:name/events',
    id: 'addDigestEvent',
    tag: 'digests',
    summary: 'Tell an event',
    description: 'It is told in the next mail of the digest. Line breaks become spaces.',
    scope: 'jobs:write',
    body: { required: true, content: json(newEvent, { kind: 'order', text: 'order 17 over 120 EUR' }) },
    answers: {
      202: {
        description: 'It is stored.',
        content: json(digestAccepted, { digest: 'daily', next_at: digest.next_at }),
      },
    },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_request', 'digest_not_found', 'digest_full', 'draining'],
  },
  {
    method: 'get',
    path: '/digests/:name/preview',
    id: 'previewDigest',
    tag: 'digests',
    summary: 'What its next mail would say',
    scope: 'jobs:read',
    answers: {
      200: {
        description: 'The mail.',
        content: json(digestPreview, {
          ...digest,
          to: ['user@example.com'],
          subject: 'The day',
          counts: { order: 2 },
          unlisted: 0,
          body: MAIL,
        }),
      },
    },
    problems: ['invalid_query', 'digest_not_found'],
  },
]
