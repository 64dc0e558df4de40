// What jobs of each type may carry, as part of the description: its schema under the name of the type.
import type { JobType, JobTypes } from '../../job-types.js'
import { payloadSchema } from '../workers.js'

type Schema = Record<string, unknown>

interface Payloads {
  /** By the names that refer to them. */
  schemas: Record<string, Schema>
  /** The schema of a submission, with the types that there are and what each takes. */
  intoSubmission(schema: Schema): Schema
}

export function describePayloads(types: JobTypes): Payloads {
  const enabled = [...types.values()].filter(({ disabled }) => disabled === null)
  const ref = ({ name }: JobType) => ({ $ref: `#/components/schemas/payload.${name}` })
  /** One condition inside the other: pages that show schemas leave such words out, but not a list of them. */
  const conditions = enabled.reduceRight<Schema>((others, type) => {
    const needed = takesNothing(type) ? {} : { required: ['payload'] }
    return {
      if: { properties: { type: { const: type.name } } },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: { properties: { payload: ref(type) }, ...needed },
      ...(Object.keys(others).length === 0 ? {} : { else: others }),
    }
  }, {})
  return {
    schemas: Object.fromEntries(enabled.map((type) => [`payload.${type.name}`, schemaOf(type)])),
    intoSubmission(schema) {
      const { type, payload, ...others } = Object(schema.properties)
      if (enabled.length === 0 || type === undefined) return schema
      const known = { ...type, enum: enabled.map(({ name }) => name) }
      const any = { ...payload, anyOf: enabled.map(ref) }
      return { ...schema, properties: { type: known, payload: any, ...others }, ...conditions }
    },
  }
}

function schemaOf(type: JobType): Schema {
  const { name, description } = type
  const { $schema: _, ...schema } = Object(payloadSchema(type))
  return { title: name, description, ...moved(schema, `#/components/schemas/payload.${name}`) }
}

/** What refers to a part of itself still does so inside the description. */
function moved(value: unknown, to: string): Schema {
  const text = JSON.stringify(value, (key, inner) =>
    key === '$ref' && typeof inner === 'string' && inner.startsWith('#') ? to + inner.slice(1) : inner,
  )
  return JSON.parse(text)
}

/** Whether a submission may leave the payload out, which means {}. A schema is somebody's code: one that throws says no. */
function takesNothing({ payload }: JobType): boolean {
  try {
    return payload === null || payload.safeParse({}).success
  } catch {
    return false
  }
}
