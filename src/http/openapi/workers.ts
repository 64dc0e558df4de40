// Operations on the workers: what they do, how many there may be, which types they run.
import { bound, DRAINING, resizeQuery, statsQuery, which } from '../workers.js'
import { stats as exampleStats, exportType, node } from './examples.js'
import { json, jsonExamples, type Operation } from './operation.js'
import { OF_BODIES, OF_WRITES } from './problems.js'
import { nodeList, node as oneNode, pauses, stats, typeList } from './upkeep-answers.js'

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
        description: 'Counts of the whole service, measurements of its nodes.',
        content: json(stats, exampleStats),
      },
    },
    query: statsQuery,
    problems: ['invalid_query', 'node_not_found'],
  },
  {
    method: 'put',
    path: '/workers',
    id: 'resizeWorkers',
    tag: 'workers',
    summary: 'Change how many jobs run at once',
    description:
      'Of a node, until it is restarted. Jobs that run go on. Another node is asked, and does it a moment later.',
    scope: 'admin',
    query: resizeQuery,
    body: { required: true, content: json(bound, { max_workers: 20 }) },
    answers: { 200: { description: 'The bound holds.', content: json(stats, exampleStats) } },
    problems: [...OF_BODIES, ...OF_WRITES, 'invalid_request', 'invalid_query', 'node_not_found'],
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
  ...DRAINING.map(
    ([verb, draining]): Operation => ({
      method: 'post',
      path: `/nodes/:id/${verb}`,
      id: `${verb}Node`,
      tag: 'workers',
      summary: draining ? 'Drain a node' : 'Let a drained node take jobs again',
      description: 'A node that is drained takes no more jobs. What runs goes on, and requests are answered.',
      scope: 'admin',
      answers: {
        200: {
          description: 'The node. Another one than this one does it a moment later.',
          content: json(oneNode, { ...node, state: draining ? 'draining' : 'alive' }),
        },
      },
      problems: [...OF_WRITES, 'node_not_found'],
    }),
  ),
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
