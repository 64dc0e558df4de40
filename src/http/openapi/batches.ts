// Operations on batches: submit many jobs, read how they do, cancel them.
import { z } from 'zod'
import { envelope } from '../../envelope.js'
import { batchBody, batchQuery } from '../batches.js'
import { batch, batchAccepted, jobStatus } from './answers.js'
import { BATCH_ID, batch as exampleBatch, ID, pending, problemInLine } from './examples.js'
import { REASON } from './job-actions.js'
import { json, type Operation } from './operation.js'
import { OF_BODIES, OF_SUBMISSIONS, OF_WRITES, problem } from './problems.js'
import { onComplete } from './requests.js'

const EMAIL = { type: 'email', payload: { to: 'user@example.com', subject: 'Hello', body: 'Test email' } }

/** A line that is sent, and the one that answers it. */
export const lineSent = z
  .union([envelope, z.strictObject({ on_complete: onComplete })])
  .describe('A job, or once, `{"on_complete": …}`: a job that waits for the end of all others.')
export const lineAnswer = z.union([
  z.strictObject({ id: z.string(), status: jobStatus, deduplicated: z.literal(true).optional() }),
  z.strictObject({ line: z.int().min(1).describe('Its number, from 1.'), error: problem }),
])

const lines = (...values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')
const accepted = { batch_id: BATCH_ID, jobs: [{ ...pending, batch_id: BATCH_ID }] }

export const batchOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/jobs/batch',
    id: 'submitBatch',
    tag: 'batches',
    summary: 'Submit many jobs',
    description:
      'As JSON: up to 1,000, all or none. As NDJSON: any number, one a line, each stored or refused for itself while ' +
      'they come in, with a line of answer for each; an `Idempotency-Key` is for JSON alone.',
    scope: 'jobs:write',
    query: batchQuery,
    headers: ['Idempotency-Key'],
    body: {
      required: true,
      content: {
        ...json(batchBody, { jobs: [EMAIL], on_complete: { type: 'cleanup', payload: { older_than: '30d' } } }),
        'application/x-ndjson': {
          schema: z.string().describe('A job as JSON on each line.'),
          examples: { lines: lines(EMAIL, EMAIL) },
          items: lineSent,
        },
      },
    },
    answers: {
      200: {
        description: 'All were there before.',
        content: json(batchAccepted, {
          batch_id: BATCH_ID,
          jobs: accepted.jobs.map((job) => ({ ...job, deduplicated: true })),
        }),
        headers: ['Location?'],
      },
      202: {
        description: 'They are stored; or, for NDJSON, what becomes of each is told line by line.',
        content: {
          ...json(batchAccepted, accepted),
          'application/x-ndjson': {
            schema: z.string().describe('For each line that is not blank, in their order, what became of it.'),
            examples: { lines: lines({ id: ID, status: 'pending' }, { line: 2, error: problemInLine }) },
            items: lineAnswer,
          },
        },
        headers: ['Location?'],
      },
    },
    problems: [...OF_SUBMISSIONS, 'invalid_request'],
  },
  {
    method: 'get',
    path: '/batches/:id',
    id: 'getBatch',
    tag: 'batches',
    summary: 'How the jobs of a batch do',
    scope: 'jobs:read',
    answers: { 200: { description: 'The batch.', content: json(batch, exampleBatch) } },
    problems: ['batch_not_found'],
  },
  {
    method: 'post',
    path: '/batches/:id/cancel',
    id: 'cancelBatch',
    tag: 'batches',
    summary: 'Cancel all jobs of a batch',
    scope: 'jobs:write',
    body: REASON,
    answers: {
      200: { description: 'All are final.', content: json(batch, { ...exampleBatch, status: 'final', progress: 100 }) },
      202: { description: 'Those that run have been asked to stop.', content: json(batch, exampleBatch) },
    },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_request', 'batch_not_found'],
  },
]
