// The description of the API (OpenAPI 3.1), put together from its operations and the schemas that validate.
import type { z } from 'zod'

import { PROBLEMS, type ProblemCode } from '../../errors.js'
import type { JobTypes } from '../../job-types.js'
import { ABOUT } from './about.js'
import { batchOperations } from './batches.js'
import { digestOperations } from './digests.js'
import { eventOperations } from './events.js'
import { REQUEST_HEADERS, RESPONSE_HEADERS, type RequestHeader, type ResponseHeader } from './headers.js'
import { descriptionOperations, healthOperations } from './health.js'
import { jobActionOperations } from './job-actions.js'
import { jobDetailOperations } from './job-details.js'
import { jobOperations } from './jobs.js'
import { type Answer, type Content, type Operation, TAGS } from './operation.js'
import { exampleOf, headersOf, problemsOf } from './problems.js'
import { scheduleOperations } from './schedules.js'
import { namedSchemas, schemaOf } from './schemas.js'
import { workerOperations } from './workers.js'

const OPERATIONS: readonly Operation[] = [
  ...jobOperations,
  ...jobDetailOperations,
  ...jobActionOperations,
  ...batchOperations,
  ...eventOperations,
  ...scheduleOperations,
  ...digestOperations,
  ...workerOperations,
  ...healthOperations,
  ...descriptionOperations,
]

/** With what jobs of these types carry. `version` is jobmill's. */
export function describeApi(types: JobTypes, version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  const refusals: Record<string, object> = {}
  const refused = new Set(OPERATIONS.flatMap((operation) => [...problemsOf(operation).values()].flat()))
  for (const operation of OPERATIONS) {
    const path = operation.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [operation.method]: operationObject(operation, types, refusals) }
  }
  return {
    openapi: '3.1.1',
    info: { title: 'jobmill', version, summary: ABOUT.summary, description: ABOUT.description, license: ABOUT.license },
    servers: [{ url: '/', description: 'This server' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: namedSchemas(types),
      parameters: Object.fromEntries(
        Object.entries(REQUEST_HEADERS).map(([name, header]) => [name, { name, in: 'header', ...header }]),
      ),
      headers: Object.fromEntries(
        Object.entries(RESPONSE_HEADERS).map(([key, header]) => [componentName(key), header]),
      ),
      responses: refusals,
      examples: problemExamples(refused),
      securitySchemes: ABOUT.securitySchemes,
    },
  }
}

function problemExamples(codes: ReadonlySet<ProblemCode>): object {
  return Object.fromEntries([...codes].map((code) => [code, { summary: PROBLEMS[code].title, value: exampleOf(code) }]))
}

function operationObject(operation: Operation, types: JobTypes, refusals: Record<string, object>): object {
  const { id, tag, summary, description, scope, body } = operation
  const needs = scope === null ? 'No key is needed.' : `Where there are API keys: one with the scope \`${scope}\`.`
  const parameters = [...pathParameters(operation), ...queryParameters(operation), ...headerParameters(operation)]
  const problems = [...problemsOf(operation)].map(([status, codes]) => [status, refusal(codes, refusals)])
  const answers = Object.entries(operation.answers).map(([status, answer]) => [status, answerObject(answer, types)])
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [description, needs].filter(Boolean).join('\n\n'),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: body.required, content: contents(body.content, types) } }),
    responses: Object.fromEntries([...answers, ...problems]),
    security: scope === null ? [] : [{ key: [scope] }, { cookie: [scope] }],
  }
}

function pathParameters({ path }: Operation): object[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => {
    const [, of = ''] = path.split('/')
    const { description, example } = ABOUT.pathParameters[name === 'name' && of === 'jobs' ? 'artifact' : of] ?? {}
    return { name, in: 'path', required: true, description, schema: { type: 'string', minLength: 1 }, example }
  })
}

function queryParameters({ query }: Operation): object[] {
  if (query === undefined) return []
  const { properties } = schemaOf(query)
  return Object.entries(Object(properties)).map(([name, schema]) => {
    const { description, ...rest } = Object(schema)
    return { name, in: 'query', required: false, description, schema: rest }
  })
}

function headerParameters({ headers = [] }: Operation): object[] {
  return headers.map((name: RequestHeader) => ({ $ref: `#/components/parameters/${name}` }))
}

function answerObject({ description, content, headers }: Answer, types: JobTypes): object {
  return {
    description,
    ...(content === undefined ? {} : { content: contents(content, types) }),
    ...(headers === undefined ? {} : { headers: headerObjects(headers) }),
  }
}

function headerObjects(headers: readonly ResponseHeader[]): object {
  return Object.fromEntries(
    headers.map((key) => [key.replace('?', ''), { $ref: `#/components/headers/${componentName(key)}` }]),
  )
}

const componentName = (key: string) => key.replace('?', '.optional')

function contents(content: Readonly<Record<string, Content>>, types: JobTypes): object {
  return Object.fromEntries(
    Object.entries(content).map(([media, { schema, examples = {}, items }]) => {
      const shown = Object.entries(examples).filter(([, value]) => hasTypesOf(value, types))
      return [
        media,
        {
          schema: { ...schemaOf(schema), ...partsOf(media, items) },
          ...(shown.length === 0
            ? {}
            : { examples: Object.fromEntries(shown.map(([name, value]) => [name, { value }])) }),
        },
      ]
    }),
  )
}

/** In the words of JSON Schema (draft 2020-12 §8): a text that holds a list of these. */
function partsOf(media: string, items: z.ZodType | undefined): object {
  if (items === undefined) return {}
  return { contentMediaType: media, contentSchema: { type: 'array', items: schemaOf(items) } }
}

/** An example of a job whose type this server has not would be wrong. Without any types there is nothing to be wrong against. */
function hasTypesOf(value: unknown, types: JobTypes): boolean {
  if (typeof value !== 'object' || value === null) return true
  const { type, payload } = Object(value)
  const known = types.size === 0 || payload === undefined || 'status' in value || types.get(type)?.disabled === null
  return known && Object.values(value).every((inner) => hasTypesOf(inner, types))
}

/** Answers a reference: operations that may refuse with the same problems share an answer. */
function refusal(codes: readonly ProblemCode[], refusals: Record<string, object>): object {
  const name = codes.join('.')
  const headers = headersOf(codes)
  refusals[name] ??= {
    description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join(' '),
    ...(headers.length === 0 ? {} : { headers: headerObjects(headers) }),
    content: {
      'application/problem+json': {
        schema: { allOf: [{ $ref: '#/components/schemas/Problem' }, { properties: { code: { enum: codes } } }] },
        examples: Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }])),
      },
      'text/html': { schema: { type: 'string', description: 'Where `HX-Request` is `true`.' } },
    },
  }
  return { $ref: `#/components/responses/${name}` }
}
