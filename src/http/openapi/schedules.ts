// Operations on schedules: define, list, pause, run now, look ahead and back.
import { document } from '../../schedules/plan.js'
import { historyQuery, listQuery, nextQuery } from '../schedules.js'
import { job } from './answers.js'
import { schedule as exampleSchedule, systemSchedule as exampleSystem, ID, pending } from './examples.js'
import { json, jsonExamples, type Operation } from './operation.js'
import { OF_BODIES, OF_WRITES } from './problems.js'
import { anySchedule, history, nextTicks, schedule, scheduleList, systemSchedule } from './upkeep-answers.js'

const JOB = { type: 'cleanup', payload: { older_than: '30d' } }
const TICK = { tick_at: '2026-07-01T01:00:00.000Z', until: null, outcome: 'ran', job_id: ID }

export const scheduleOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/schedules',
    id: 'listSchedules',
    tag: 'schedules',
    summary: 'List schedules, by name',
    scope: 'jobs:read',
    query: listQuery,
    answers: {
      200: {
        description: "A page of schedules, with jobmill's own upkeep.",
        content: json(scheduleList, { schedules: [exampleSchedule, exampleSystem], next_cursor: null }),
        headers: ['Link?'],
      },
    },
    problems: [],
  },
  {
    method: 'get',
    path: '/schedules/:name',
    id: 'getSchedule',
    tag: 'schedules',
    summary: 'Read a schedule',
    scope: 'jobs:read',
    answers: {
      200: {
        description: 'The schedule.',
        content: jsonExamples(anySchedule, { schedule: exampleSchedule, upkeep: exampleSystem }),
      },
    },
    problems: ['schedule_not_found'],
  },
  {
    method: 'put',
    path: '/schedules/:name',
    id: 'putSchedule',
    tag: 'schedules',
    summary: 'Define a schedule, or change it',
    description: 'Its name is 1 to 64 letters, digits and `._-`. What is left out gets its default.',
    scope: 'jobs:write',
    body: {
      required: true,
      content: jsonExamples(document, {
        cron: { cron: '0 3 * * *', time_zone: 'Europe/Berlin', job: JOB },
        every: { every: '20m', mode: 'fixed_delay', job: JOB },
        fields: { fields: { hours: [[8, 18]], days_of_week: [['mon', 'fri']] }, job: JOB },
      }),
    },
    answers: {
      200: { description: 'It was there before.', content: json(schedule, exampleSchedule) },
      201: { description: 'It is new.', content: json(schedule, exampleSchedule), headers: ['Location'] },
    },
    problems: [
      ...OF_BODIES,
      ...OF_WRITES,
      'invalid_request',
      'invalid_job',
      'unknown_type',
      'disabled_type',
      'schedule_fixed',
      'draining',
    ],
  },
  {
    method: 'delete',
    path: '/schedules/:name',
    id: 'deleteSchedule',
    tag: 'schedules',
    summary: 'Forget a schedule',
    description: 'And its history. Jobs that it made stay.',
    scope: 'jobs:write',
    answers: { 204: { description: 'It is gone.' } },
    problems: [...OF_WRITES, 'schedule_not_found', 'schedule_fixed'],
  },
  {
    method: 'post',
    path: '/schedules/:name/run',
    id: 'runSchedule',
    tag: 'schedules',
    summary: 'Run it now',
    description: 'Its next tick stays.',
    scope: 'jobs:write',
    answers: {
      200: { description: "A pass of jobmill's own upkeep was done.", content: json(systemSchedule, exampleSystem) },
      202: {
        description: 'The job was made.',
        content: json(job, { ...pending, schedule: 'nightly-cleanup' }),
        headers: ['Location'],
      },
    },
    problems: [
      ...OF_BODIES,
      ...OF_WRITES,
      'schedule_not_found',
      'schedule_running',
      'digest_empty',
      'invalid_request',
      'invalid_job',
      'unknown_type',
      'disabled_type',
      'queue_full',
      'draining',
    ],
  },
  ...(['pause', 'resume'] as const).map(
    (verb): Operation => ({
      method: 'post',
      path: `/schedules/:name/${verb}`,
      id: `${verb}Schedule`,
      tag: 'schedules',
      summary: verb === 'pause' ? 'Pause a schedule' : 'Let a paused schedule go on',
      scope: 'jobs:write',
      answers: {
        200: {
          description: 'The schedule.',
          content: json(schedule, {
            ...exampleSchedule,
            ...(verb === 'pause' ? { paused: true, paused_at: exampleSchedule.updated_at, next_at: null } : {}),
          }),
        },
      },
      problems: [...OF_BODIES, ...OF_WRITES, 'schedule_not_found', 'schedule_fixed'],
    }),
  ),
  {
    method: 'get',
    path: '/schedules/:name/next',
    id: 'previewSchedule',
    tag: 'schedules',
    summary: 'When its next ticks are',
    scope: 'jobs:read',
    query: nextQuery,
    answers: {
      200: {
        description: 'Times. One at the most where ticks wait for the end of runs.',
        content: json(nextTicks, { next: ['2026-07-02T01:00:00.000Z', '2026-07-03T01:00:00.000Z'] }),
      },
    },
    problems: ['schedule_not_found'],
  },
  {
    method: 'get',
    path: '/schedules/:name/history',
    id: 'listTicks',
    tag: 'schedules',
    summary: 'What became of its ticks, newest first',
    description: 'The latest 1,000 are kept.',
    scope: 'jobs:read',
    query: historyQuery,
    answers: {
      200: {
        description: 'Its ticks.',
        content: json(history, { history: [{ ...TICK, reason: 'on_time', detail: 'it was due' }] }),
      },
    },
    problems: ['schedule_not_found'],
  },
]
