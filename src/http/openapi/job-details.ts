// Operations on what a job did: its attempts, log lines, artifacts, what it waits for, how it looks in a page.
import { logQuery } from '../log-query.js'
import { attemptList, logPage, why } from './answers.js'
import { ID } from './examples.js'
import { anyFile, asHtml } from './media.js'
import { json, type Operation } from './operation.js'

const AT = '2026-07-01T08:30:00.000Z'

const attempts = {
  attempts: [
    {
      run: 1,
      attempt: 1,
      node: 'host-1-3f2a91bc',
      slot: 3,
      started_at: AT,
      finished_at: '2026-07-01T08:30:01.250Z',
      outcome: 'retry',
      reason: 'handler_error',
      reason_detail: 'attempt 1 of 2 failed: connection refused',
      error: { code: 'handler_error', message: 'connection refused', attempt: 1, stack: 'Error: connection refused' },
    },
  ],
}

const waiting = {
  id: ID,
  status: 'scheduled',
  reason: 'submitted',
  reason_detail: 'it runs when its time comes',
  waits_for: [{ kind: 'due_time', run_at: AT, detail: `it is due at ${AT}` }],
  position: null,
}

export const jobDetailOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/jobs/:id/attempts',
    id: 'listAttempts',
    tag: 'jobs',
    summary: 'The runs of a job, oldest first',
    description: 'The latest 100 are kept. Stacks of errors are here and nowhere else.',
    scope: 'jobs:read',
    answers: { 200: { description: 'Its runs.', content: json(attemptList, attempts) } },
    problems: ['job_not_found'],
  },
  {
    method: 'get',
    path: '/jobs/:id/logs',
    id: 'listLogs',
    tag: 'jobs',
    summary: 'The log lines of a job, oldest first',
    scope: 'jobs:read',
    query: logQuery,
    answers: {
      200: {
        description: 'A page of lines.',
        content: json(logPage, { logs: [{ run: 1, at: AT, message: '10,000 rows read' }], next_cursor: null }),
      },
    },
    problems: ['job_not_found'],
  },
  {
    method: 'get',
    path: '/jobs/:id/why',
    id: 'explainJob',
    tag: 'jobs',
    summary: 'Why a job is not running',
    scope: 'jobs:read',
    answers: { 200: { description: 'Each thing that stands in its way.', content: json(why, waiting) } },
    problems: ['job_not_found'],
  },
  {
    method: 'get',
    path: '/jobs/:id/fragment',
    id: 'getFragment',
    tag: 'jobs',
    summary: 'A job as a piece of HTML',
    description: 'A bar that asks for itself until the job is final, then what came of it.',
    scope: 'jobs:read',
    headers: ['HX-Request'],
    answers: { 200: { description: 'The piece.', content: asHtml, headers: ['HX-Trigger?'] } },
    problems: ['job_not_found', 'invalid_query'],
  },
  {
    method: 'get',
    path: '/jobs/:id/artifacts/:name',
    id: 'getArtifact',
    tag: 'jobs',
    summary: 'A file that a job made',
    scope: 'jobs:read',
    headers: ['Range', 'If-Range', 'If-None-Match'],
    answers: {
      200: {
        description: 'The file.',
        content: anyFile,
        headers: ['ETag', 'Accept-Ranges', 'Cache-Control', 'Content-Disposition'],
      },
      206: {
        description: 'The part that `Range` asked for.',
        content: anyFile,
        headers: ['ETag', 'Accept-Ranges', 'Cache-Control', 'Content-Disposition', 'Content-Range'],
      },
      304: { description: 'It is what `If-None-Match` names.', headers: ['ETag', 'Accept-Ranges', 'Cache-Control'] },
    },
    problems: ['artifact_not_found', 'range_not_satisfiable'],
  },
]
