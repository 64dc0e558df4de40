// Operations on the workers: what they do, how many there may be, which types they run.
import { bound, which } from '../workers.js'
import { stats as exampleStats, exportType, node } from './examples.js'
import { json, jsonExamples, type Operation } from './operation.js'
import { OF_BODIES, OF_WRITES } from './problems.js'
import { nodeList, pauses, stats, typeList } from './upkeep-answers.js'

export const workerOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/workers/stats',
    id: 'getStats',
    tag: 'workers',
    summary: 'What is done, and what waits',
    scope: 'jobs:read',
    answers: {
      200: {
        description: 'Counts of the whole service, measurements of this node.',
        content: json(stats, exampleStats),
      },
    },
    problems: [],
  },
  {
    method: 'put',
    path: '/workers',
    id: 'resizeWorkers',
    tag: 'workers',
    summary: 'Change how many jobs run at once',
    description: 'On this node, until it is restarted. Jobs that run go on.',
    scope: 'admin',
    body: { required: true, content: json(bound, { max_workers: 20 }) },
    answers: { 200: { description: 'The bound holds.', content: json(stats, exampleStats) } },
    problems: [...OF_BODIES, 'invalid_request'],
  },
  ...(['pause', 'resume'] as const).map(
    (verb): Operation => ({
      method: 'post',
      path: `/workers/${verb}`,
      id: `${verb}Workers`,
      tag: 'workers',
      summary: verb === 'pause' ? 'Start no further jobs' : 'Start jobs again',
      description: 'Of a type, or of all. The pause of all and those of single types are lifted each by itself.',
      scope: 'admin',
      body: { required: false, content: jsonExamples(which, { type: { type: 'export' }, all: {} }) },
      answers: {
        200: {
          description: 'What is paused now.',
          content: json(pauses, { paused: false, paused_types: verb === 'pause' ? ['export'] : [] }),
        },
      },
      problems: [...OF_BODIES, ...OF_WRITES, 'invalid_request', 'unknown_type'],
    }),
  ),
  {
    method: 'get',
    path: '/nodes',
    id: 'listNodes',
    tag: 'workers',
    summary: 'List nodes',
    scope: 'jobs:read',
    answers: { 200: { description: 'With SQLite there is one.', content: json(nodeList, { nodes: [node] }) } },
    problems: [],
  },
  {
    method: 'get',
    path: '/types',
    id: 'listTypes',
    tag: 'workers',
    summary: 'List job types',
    scope: 'jobs:read',
    answers: {
      200: {
        description: 'Each with its limits and the schema of its payload.',
        content: json(typeList, { types: [exportType] }),
      },
    },
    problems: [],
  },
]
