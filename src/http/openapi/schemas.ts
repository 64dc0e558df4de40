// Zod schemas as JSON Schemas: the named ones among the components, the others where they are used.
import { z } from 'zod'
import type { JobTypes } from '../../job-types.js'
import { NAMED, SUBMITTED } from './names.js'
import { describePayloads } from './payloads.js'
import { READ_LATER } from './requests.js'

export type JsonSchema = Record<string, unknown>

const names = new Map<z.core.$ZodType, string>(Object.entries(NAMED).map(([name, schema]) => [schema, name]))
const uri = (name: string) => `#/components/schemas/${name}`

const OPTIONS = {
  // What is sent. Answers have no defaults and nothing that changes them: for them it is the same.
  io: 'input',
  unrepresentable: 'any',
  override({ zodSchema, jsonSchema }: { zodSchema: z.core.$ZodType; jsonSchema: z.core.JSONSchema.BaseSchema }) {
    const later = READ_LATER.get(zodSchema)
    if (later !== undefined) jsonSchema.$ref = uri(names.get(later) ?? '')
  },
} as const

export function namedSchemas(types: JobTypes): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>()
  for (const [name, schema] of Object.entries(NAMED)) registry.add(schema, { id: name })
  const { schemas } = z.toJSONSchema(registry, { ...OPTIONS, uri })
  const payloads = describePayloads(types)
  const own = Object.entries(schemas).map(([name, schema]): [string, JsonSchema] => {
    const shown = bare(schema)
    return [name, SUBMITTED.some((submitted) => submitted === name) ? payloads.intoSubmission(shown) : shown]
  })
  return { ...Object.fromEntries(own), ...payloads.schemas }
}

/** A reference to it where it has a name. */
export function schemaOf(schema: z.ZodType): JsonSchema {
  const name = names.get(schema)
  return name === undefined ? bare(z.toJSONSchema(schema, OPTIONS)) : { $ref: uri(name) }
}

function bare({ $schema: _, $id: __, ...schema }: JsonSchema): JsonSchema {
  return schema
}
