// How an operation of the API is described: what it takes, what it answers, and how it may refuse.
import type { z } from 'zod'
import type { Scope } from '../../api-key.js'
import type { ProblemCode } from '../../errors.js'
import type { RequestHeader, ResponseHeader } from './headers.js'

/** In the order in which they are shown. */
export const TAGS = {
  jobs: 'Submit, read, list, change and cancel jobs.',
  batches: 'Many jobs in one request, and what became of them.',
  events: 'Changes of jobs as they happen, as server-sent events.',
  schedules: 'Jobs that are made again and again: by a calendar, or at intervals.',
  digests: 'Events that are told together, in one mail a period.',
  workers: 'What runs, how much may run at once, and which types there are.',
  health: 'Probes and metrics.',
  description: 'This description, as JSON and as pages.',
} as const

export interface Operation {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** As Express has it: "/jobs/:id". */
  path: string
  id: string
  tag: keyof typeof TAGS
  summary: string
  description?: string
  /** What a key must be allowed to, where there are keys; null: none is asked for. */
  scope: Scope | null
  query?: z.ZodObject
  headers?: readonly RequestHeader[]
  body?: { required: boolean; content: Contents }
  /** By status. */
  answers: Readonly<Record<number, Answer>>
  /** Beside those that problems.ts knows of all operations. */
  problems: readonly ProblemCode[]
}

export interface Answer {
  description: string
  content?: Contents
  headers?: readonly ResponseHeader[]
}

/** By media type. */
type Contents = Readonly<Record<string, Content>>

export interface Content {
  schema: z.ZodType
  /** By name; the name is shown. */
  examples?: Readonly<Record<string, unknown>>
  /** What each message of a stream, or each line, holds as JSON. */
  items?: z.ZodType
}

export function json(schema: z.ZodType, example: unknown): Contents {
  return { 'application/json': { schema, examples: { example } } }
}

export function jsonExamples(schema: z.ZodType, examples: Readonly<Record<string, unknown>>): Contents {
  return { 'application/json': { schema, examples } }
}
