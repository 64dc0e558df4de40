// Operations that stream: changes of one job, or of all that fit a filter.
import { eventQuery } from '../job-query.js'
import { eventStream } from './media.js'
import type { Operation } from './operation.js'

export const eventOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/events',
    id: 'followJobs',
    tag: 'events',
    summary: 'Follow all jobs that fit a filter',
    description: 'Begins with the latest 50 of them, and goes on until the client leaves.',
    scope: 'jobs:read',
    query: eventQuery,
    headers: ['Last-Event-ID'],
    answers: { 200: { description: 'The stream.', content: eventStream('') } },
    problems: ['too_many_streams', 'draining'],
  },
  {
    method: 'get',
    path: '/jobs/:id/events',
    id: 'followJob',
    tag: 'events',
    summary: 'Follow a job until it is final',
    scope: 'jobs:read',
    headers: ['Last-Event-ID'],
    answers: {
      200: { description: 'The stream.', content: eventStream('`done` at the end, with its status.') },
      204: { description: 'All was told before: do not come back.' },
    },
    problems: ['job_not_found', 'invalid_query', 'too_many_streams', 'draining'],
  },
]
