// Operations on jobs: submit, list, read, change, delete.
import { adjustment, envelope } from '../../envelope.js'
import { jobQuery } from '../job-query.js'
import { waitQuery } from '../waits.js'
import { acceptedJob, job, jobList, jobSummary } from './answers.js'
import { completed, pending, pendingSummary, summary } from './examples.js'
import { jobJsonOrHtml } from './media.js'
import { json, jsonExamples, type Operation } from './operation.js'
import { OF_BODIES, OF_SUBMISSIONS, OF_WRITES } from './problems.js'

const SUBMISSIONS = {
  email: {
    type: 'email',
    payload: { to: 'user@example.com', subject: 'Hello', body: 'Test email' },
    tags: { customer: '17' },
  },
  export: { type: 'export', payload: { format: 'csv' }, priority: 2, timeout: '5m' },
  cleanup: { type: 'cleanup', payload: { older_than: '30d' }, delay: '10m' },
}

export const jobOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/jobs',
    id: 'submitJob',
    tag: 'jobs',
    summary: 'Submit a job',
    description:
      'It is on disk when this is answered. The payload is checked against the schema of its type. With an ' +
      '`Idempotency-Key`, or a `unique_key`, a job is made once, however often it is asked for.',
    scope: 'jobs:write',
    headers: ['Idempotency-Key', 'Prefer', 'HX-Request'],
    body: {
      required: true,
      content: {
        'application/json': { schema: envelope, examples: SUBMISSIONS },
        'application/x-www-form-urlencoded': {
          schema: envelope,
          examples: { form: { type: 'email', payload: { to: 'user@example.com', subject: 'Hello', body: 'Hi' } } },
        },
      },
    },
    answers: {
      200: {
        description: 'It was there before (`deduplicated`), or it was waited for and is final.',
        content: jobJsonOrHtml(acceptedJob, { ...completed, deduplicated: true }),
        headers: ['Location', 'Preference-Applied?', 'HX-Trigger?'],
      },
      202: {
        description: 'It is stored.',
        content: jobJsonOrHtml(acceptedJob, pending),
        headers: ['Location', 'Preference-Applied?', 'HX-Trigger?'],
      },
    },
    problems: OF_SUBMISSIONS,
  },
  {
    method: 'get',
    path: '/jobs',
    id: 'listJobs',
    tag: 'jobs',
    summary: 'List jobs, newest first',
    scope: 'jobs:read',
    query: jobQuery,
    answers: {
      200: {
        description: 'A page of jobs. It may have fewer than `limit` although more follow.',
        content: json(jobList, { jobs: [summary], next_cursor: null }),
        headers: ['Link?'],
      },
    },
    problems: [],
  },
  {
    method: 'get',
    path: '/jobs/:id',
    id: 'getJob',
    tag: 'jobs',
    summary: 'Read a job',
    scope: 'jobs:read',
    query: waitQuery,
    headers: ['If-None-Match'],
    answers: {
      200: {
        description: 'The job.',
        content: jsonExamples(job, { completed, pending }),
        headers: ['ETag', 'Retry-After?'],
      },
      304: { description: 'It is what `If-None-Match` names.', headers: ['ETag', 'Retry-After?'] },
    },
    problems: ['job_not_found'],
  },
  {
    method: 'patch',
    path: '/jobs/:id',
    id: 'adjustJob',
    tag: 'jobs',
    summary: 'Change priority or time',
    description: 'Of a job that neither runs nor is final.',
    scope: 'jobs:write',
    body: {
      required: true,
      content: jsonExamples(adjustment, { sooner: { priority: 1 }, at_once: { run_at: null } }),
    },
    answers: { 200: { description: 'The job as it is now.', content: json(jobSummary, pendingSummary) } },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_request', 'job_not_found', 'job_final', 'job_running'],
  },
  {
    method: 'delete',
    path: '/jobs/:id',
    id: 'deleteJob',
    tag: 'jobs',
    summary: 'Delete a final job',
    description: 'With its attempts, log lines and artifacts.',
    scope: 'jobs:write',
    answers: { 204: { description: 'It is gone.' } },
    problems: [...OF_WRITES, 'job_not_found', 'job_not_final', 'job_needed'],
  },
]
