// What jobs by SQL may say: what is taken has the row that a node writes, what is refused HTTP refuses as well.
import type pg from 'pg'
import { v7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../src/store/store.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { connect, MAX_PAYLOAD, openNode, overHttp, submit } from './by-sql.js'
import { expectCountsToFit, NO_BOUNDS } from './suite/stage.js'

const LATER = '2099-01-31T08:30:00.000Z'
const LATEST = '2099-02-01T00:00:00+02:00'
const HOW_LONG = 'must be a number of seconds, or a text such as "500ms", "90s", "10m", "2h", "30d", between'
const TIME = 'must be a time such as "2030-01-31T08:30:00Z"'

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
/** A payload of so many bytes. */
const long = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`
const manyTags = Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`t${i}`, '']))

describe.skipIf(postgresMissing !== null)(`values of jobs by SQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  const schema = `values_${process.pid}`
  let store: Store
  let app: pg.Client

  beforeAll(async () => {
    store = await openNode({ source: server.url(), schema, node: 'node-1' })
    app = await connect(server.url())
  })
  afterAll(async () => {
    await store.close()
    await app.query(`DROP SCHEMA ${schema} CASCADE`)
    await app.end()
  })
  const rowOf = async (id: string) => (await app.query(`SELECT * FROM ${schema}.jobs WHERE id = $1`, [id])).rows[0]
  const tagsOf = async (id: string) =>
    (await app.query(`SELECT tag FROM ${schema}.tags WHERE id = $1 ORDER BY tag`, [id])).rows

  test.each([
    ['nothing', {}],
    [
      'a payload',
      { payload: '{"to": "user@example.com", "body": "a \\"b\\\\ : , \\\\\\" ü 😀 \\n c", "list": [1, 2.5, []]}' },
    ],
    ['a payload that is no object', { type: 'export', payload: '"a,  b: c"' }],
    ['null as payload', { payload: 'null', options: '{}' }],
    ['brackets in texts', { payload: `["${'[{'.repeat(70)}", "\\"]"]` }],
    ['digits in a text', { payload: `["${'9'.repeat(400)}"]` }],
    ['the deepest payload', { payload: nested(63) }],
    ['the longest payload', { payload: long(MAX_PAYLOAD) }],
    ['a priority', { options: '{"priority": 1.0}' }],
    ['a delay', { options: '{"delay": "10m"}' }],
    ['a delay of fractions', { options: '{"delay": 1.0005}' }],
    ['no delay', { options: '{"delay": 0, "priority": 5}' }],
    ['a delay that is less than any number', { options: '{"delay": 1e-400}' }],
    ['the longest delay', { options: '{"delay": "3650d"}' }],
    ['a time', { type: 'export', options: `{"run_at": "${LATER}", "priority": 5}` }],
    ['a time with an offset and many digits', { options: '{"run_at": "2099-12-31T23:30:00.1239-05:30"}' }],
    ['the last time', { options: '{"run_at": "9999-12-31T00:00:00Z"}' }],
    ['a time that has passed', { options: '{"run_at": "2001-02-03T04:05:06Z", "priority": 2}' }],
    ['the shortest timeout', { options: '{"timeout": "100ms", "tags": {}}' }],
    ['the longest timeout', { options: '{"timeout": 60, "retry_count": 100}' }],
    [
      'everything',
      {
        type: 'export',
        payload: '{"a": 1}',
        options: `{"priority": 4, "run_at": "${LATER}", "start_by": "${LATEST}", "timeout": 90.5, "retry_count": 0,
          "tags": {"a": "1", "b.c": "x:y ü"}}`,
      },
    ],
  ])('%s: the row is what a node writes', async (_, given: { type?: string; payload?: string; options?: string }) => {
    const { type = 'email', payload = given.options && '{}', options } = given
    const id = await submit(app, schema, type, payload, options)
    const mine = await rowOf(id)
    const body = { type, ...(payload && { payload: JSON.parse(payload) }), ...JSON.parse(options ?? '{}') }
    const job = overHttp(v7(), body, Number(mine.created_at))
    await store.submit([job], NO_BOUNDS)
    expect(mine).toEqual({ ...(await rowOf(job.id)), id })
    expect(await tagsOf(id)).toEqual(await tagsOf(job.id))
    await expectCountsToFit(store)
  })

  test.each([
    ['{"priority": 0}', 'options.priority: must be a whole number from 1 (high) to 5 (low)'],
    ['{"priority": 2.5}', 'options.priority: must be a whole number from 1'],
    ['{"priority": "2"}', 'options.priority: must be a whole number from 1'],
    ['{"priority": null}', 'options.priority: must be a whole number from 1'],
    ['{"retry_count": 101}', 'options.retry_count: must be a whole number from 0 to 100'],
    ['{"delay": -1}', `options.delay: ${HOW_LONG} 0ms and 3650d`],
    ['{"delay": "3651d"}', `options.delay: ${HOW_LONG}`],
    ['{"delay": "10 m"}', `options.delay: ${HOW_LONG}`],
    ['{"delay": 1e300}', `options.delay: ${HOW_LONG}`],
    ['{"delay": null}', `options.delay: ${HOW_LONG}`],
    ['{"timeout": 0.0999}', `options.timeout: ${HOW_LONG} 100ms and 3650d`],
    ['{"timeout": "60001ms"}', 'options.timeout: must not be longer than 60 seconds, the timeout of email'],
    ['{"run_at": "2030-02-30T00:00:00Z"}', `options.run_at: ${TIME}`],
    ['{"run_at": "2030-01-31 08:30:00Z"}', `options.run_at: ${TIME}`],
    ['{"run_at": "2030-01-31T08:30:00"}', `options.run_at: ${TIME}`],
    ['{"run_at": "2030-01-31T24:00:00Z"}', `options.run_at: ${TIME}`],
    ['{"run_at": "2030-01-31T08:30:00+24:00"}', `options.run_at: ${TIME}`],
    ['{"run_at": "tomorrow"}', `options.run_at: ${TIME}`],
    ['{"run_at": 1893456000}', `options.run_at: ${TIME}`],
    ['{"run_at": null}', `options.run_at: ${TIME}`],
    ['{"run_at": "9999-12-31T00:00:00.001Z"}', 'options.run_at: must lie between 1970 and 9999'],
    ['{"run_at": "1969-12-31T23:59:59Z"}', 'options.run_at: must lie between 1970 and 9999'],
    [`{"delay": 1, "run_at": "${LATER}"}`, 'options.run_at: must be left out where there is a delay'],
    ['{"start_by": "2001-01-01T00:00:00Z"}', 'options.start_by: must be later than 2'],
    [
      `{"run_at": "${LATER}", "start_by": "${LATER}"}`,
      `options.start_by: must be later than ${LATER}, when the job may`,
    ],
    ['{"tags": []}', 'options.tags: must be an object of texts'],
    ['{"tags": {"a b": "c"}}', 'options.tags: must have names of 1 to 64 letters, digits and ._-'],
    ['{"tags": {"__proto__": "c"}}', 'options.tags: must not have an entry with the name __proto__'],
    ['{"tags": {"a": 1}}', 'options.tags.a: must be a text of up to 255 characters'],
    [`{"tags": {"a": ${long(258)}}}`, 'options.tags.a: must be a text of up to 255 characters'],
    [JSON.stringify({ tags: manyTags }), 'options.tags: must have at most 20 entries'],
    ['{"colour": "red"}', 'options.colour: is not taken here, options are priority, delay, run_at, start_by, timeout,'],
  ])('options %s are refused: %s', async (options, message) => {
    await expectRefusal(['email', '{}', options], message)
    expect(() => overHttp('', { type: 'email', ...JSON.parse(options) })).toThrow()
  })

  test('a payload that is too long is refused', async () => {
    const message = `payload: must not have more than ${MAX_PAYLOAD} bytes (limits.payload), it has ${MAX_PAYLOAD + 1}`
    await expectRefusal(['email', long(MAX_PAYLOAD + 1)], message)
  })

  // HTTP refuses these before it looks at the job.
  test.each([
    [nested(64), 'payload: must not be nested deeper than 63 levels'],
    ['[-1e400]', 'payload: must not have a number that is too large to be kept'],
  ])('a payload of %s is refused: %s', async (payload, message) => {
    await expectRefusal(['email', payload], message)
  })

  test.each(['unique_key', 'unique_for', 'concurrency_key', 'depends_on', 'on_dependency_failure'])(
    'the option %s of HTTP, for which nodes would have to wait, is refused',
    async (option) => {
      const message = `options.${option}: is not taken here, options are`
      await expectRefusal(['email', '{}', `{"${option}": "x"}`], message)
    },
  )

  test('NULL is refused, and options that are no object', async () => {
    await expectRefusal(['email', null], 'payload: must not be NULL')
    for (const options of [null, '[]', '"x"'])
      await expectRefusal(['email', '{}', options], 'options: must be a JSON object')
  })

  test('an unknown type is refused with those that there are', async () => {
    await expectRefusal(['emial'], 'type: there is no job type "emial", it must be one of email, export', 'JM001')
    await expectRefusal([null], 'type: there is no job type ""', 'JM001')
  })

  /** It counts for nothing. */
  async function expectRefusal(values: unknown[], message: string, code = 'JM002') {
    const before = await store.counts()
    const submitting = submit(app, schema, ...values)
    await expect(submitting).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
    expect(await store.counts()).toEqual(before)
  }
})
