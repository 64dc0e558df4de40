// Forms made of JSON Schemas: which field each value gets, and that what is typed in becomes that value.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { bodyOf, fieldsOf } from '../../src/http/form-fields.js'

const fieldsFor = (schema: z.ZodType) => fieldsOf(z.toJSONSchema(schema, { io: 'input' }), '/payload')
const read = (schema: z.ZodType, typed: Record<string, string>) =>
  bodyOf(fieldsFor(schema), new Map(Object.entries(typed)))

const mail = z.strictObject({
  to: z.union([z.string(), z.array(z.string())]),
  subject: z.string().max(998),
  text: z.string(),
  copies: z.int().optional(),
  urgent: z.boolean().default(false),
  format: z.enum(['plain', 'html']),
  labels: z.array(z.string()).optional().describe('Words for `search`.'),
  headers: z.record(z.string(), z.string()).optional(),
  from: z.strictObject({ name: z.string(), address: z.email() }).optional(),
})

describe('fields', () => {
  test('each value has one that fits it', () => {
    const kinds = Object.fromEntries(fieldsFor(mail).map(({ pointer, kind, required }) => [pointer, [kind, required]]))
    expect(kinds).toEqual({
      '/payload/to': ['mixed', true],
      '/payload/subject': ['line', true],
      '/payload/text': ['text', true],
      '/payload/copies': ['number', false],
      '/payload/urgent': ['choice', false],
      '/payload/format': ['choice', true],
      '/payload/labels': ['lines', false],
      '/payload/headers': ['json', false],
      '/payload/from/name': ['text', false],
      '/payload/from/address': ['line', false],
    })
  })

  test('say what is left out stands for, and what they take', () => {
    const hints = Object.fromEntries(fieldsFor(mail).map(({ label, hint }) => [label, hint]))
    expect(hints).toMatchObject({
      urgent: 'left out: false',
      to: 'or a list, as JSON',
      labels: 'Words for search; one a line',
      headers: 'as JSON',
      'from name': '',
    })
  })

  test.each([
    ['nothing is known of it', z.any()],
    ['it is no object', z.array(z.number())],
    ['it has names of its own', z.record(z.string(), z.number())],
    ['it takes further names', z.looseObject({ a: z.string() })],
    ['a name means something else to forms', z.strictObject({ 'a[b]': z.string() })],
    [
      'it is larger than a form',
      z.strictObject(Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`f${i}`, z.string()]))),
    ],
  ])('where %s, all of it is one field for JSON', (_, schema) => {
    expect(fieldsFor(schema)).toMatchObject([{ pointer: '/payload', required: false }])
    expect(read(schema, { '/payload': '{"a": [1]}' }).body).toEqual({ payload: { a: [1] } })
  })
})

describe('what is typed in', () => {
  test('becomes the value that it stands for', () => {
    const typed = {
      '/payload/to': '["a@example.com", "b@example.com"]',
      '/payload/subject': '42',
      '/payload/text': 'one\n[two]',
      '/payload/copies': '3',
      '/payload/urgent': 'true',
      '/payload/format': '"html"',
      '/payload/labels': 'one\n\n two \n',
      '/payload/headers': '{"X-A": "b"}',
      '/payload/from/name': 'A',
    }
    expect(read(mail, typed)).toEqual({
      errors: [],
      body: {
        payload: {
          to: ['a@example.com', 'b@example.com'],
          subject: '42',
          text: 'one\n[two]',
          copies: 3,
          urgent: true,
          format: 'html',
          labels: ['one', ' two '],
          headers: { 'X-A': 'b' },
          from: { name: 'A' },
        },
      },
    })
  })

  test('is left out where nothing was', () => {
    expect(read(mail, { '/payload/subject': '', '/payload/none': 'x' }).body).toEqual({})
  })

  test('is left for the schema to refuse where it is something else', () => {
    const { body } = read(mail, { '/payload/copies': 'many', '/payload/format': 'pdf', '/payload/to': '[broken' })
    expect(body).toEqual({ payload: { copies: 'many', format: 'pdf', to: '[broken' } })
    const errors = [{ pointer: '/payload/headers', detail: 'must be JSON' }]
    expect(read(mail, { '/payload/headers': '{' }).errors).toEqual(errors)
  })

  test('may have any name, and changes nothing but its own value', () => {
    const name = fc.string({ minLength: 1, maxLength: 8 }).filter((text) => !/[[\]]|^__proto__$/.test(text))
    const names = fc.uniqueArray(fc.oneof(name, fc.constantFrom('constructor', 'toString', '~1', 'a/b')), {
      minLength: 1,
    })
    fc.assert(
      fc.property(names, (names) => {
        const properties = Object.fromEntries(names.map((name) => [name, { type: 'string', maxLength: 9 }]))
        const text = JSON.stringify({ type: 'object', properties, additionalProperties: false })
        const fields = fieldsOf(JSON.parse(text), '/payload')
        const typed = new Map(fields.map(({ pointer }, i) => [pointer, `v${i}`]))
        const { payload } = bodyOf(fields, typed).body
        expect(Object.values(Object(payload))).toEqual(fields.map((_, i) => `v${i}`))
        expect(Object.getPrototypeOf(payload)).toBe(Object.prototype)
      }),
    )
  })
})
