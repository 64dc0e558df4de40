// Operations that move jobs: cancel and run again, one by one or by a filter.
import { bulkCancel, bulkRerun } from '../bulk.js'
import { cancelRequest } from '../jobs.js'
import { bulkCancelled, bulkRerun as bulkRerunAnswer, jobSummary } from './answers.js'
import { cancelledSummary, pendingSummary, summary } from './examples.js'
import { jobJsonOrHtml } from './media.js'
import { json, type Operation } from './operation.js'
import { OF_BODIES, OF_WRITES } from './problems.js'

export const REASON = { required: false, content: json(cancelRequest, { reason: 'the customer left' }) }

export const jobActionOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/jobs/:id/cancel',
    id: 'cancelJob',
    tag: 'jobs',
    summary: 'Cancel a job',
    scope: 'jobs:write',
    headers: ['HX-Request'],
    body: REASON,
    answers: {
      200: {
        description: 'It is cancelled.',
        content: jobJsonOrHtml(jobSummary, cancelledSummary),
        headers: ['HX-Trigger?'],
      },
      202: {
        description: 'It runs, and has been asked to stop; it will be stopped if it does not.',
        content: jobJsonOrHtml(jobSummary, { ...summary, status: 'processing', artifacts: [], finished_at: null }),
        headers: ['HX-Trigger?'],
      },
    },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_request', 'job_not_found', 'job_final'],
  },
  {
    method: 'post',
    path: '/jobs/:id/rerun',
    id: 'rerunJob',
    tag: 'jobs',
    summary: 'Run a final job again',
    scope: 'jobs:write',
    headers: ['HX-Request'],
    answers: {
      202: {
        description: 'It is pending.',
        content: jobJsonOrHtml(jobSummary, pendingSummary),
        headers: ['HX-Trigger?'],
      },
    },
    problems: [...OF_BODIES, ...OF_WRITES, 'job_not_found', 'job_not_final', 'unknown_type', 'disabled_type'],
  },
  {
    method: 'post',
    path: '/jobs/cancel',
    id: 'cancelJobs',
    tag: 'jobs',
    summary: 'Cancel jobs by a filter',
    description: 'Up to 1,000 a request, newest first. `{"filter": {}}` means all that are not final.',
    scope: 'jobs:write',
    body: { required: true, content: json(bulkCancel, { filter: { status: ['pending'], tag: 'customer:17' } }) },
    answers: {
      200: {
        description: 'How many it were.',
        content: json(bulkCancelled, { cancelled: 12, asked_to_stop: 1, more: false, next_cursor: null }),
      },
    },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_query', 'invalid_request'],
  },
  {
    method: 'post',
    path: '/jobs/rerun',
    id: 'rerunJobs',
    tag: 'jobs',
    summary: 'Run jobs again by a filter',
    description: 'Up to 1,000 final ones a request, newest first.',
    scope: 'jobs:write',
    body: { required: true, content: json(bulkRerun, { filter: { status: 'failed', type: 'export' } }) },
    answers: {
      200: {
        description: 'How many it were.',
        content: json(bulkRerunAnswer, { rerun: 3, without_type: 0, more: false, next_cursor: null }),
      },
    },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_query', 'invalid_request'],
  },
]
