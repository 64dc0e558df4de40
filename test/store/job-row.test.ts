// Rows of jobs are read by the order of their columns: each value has to come to the field of its name.
import { expect, test } from 'vitest'
import { COLUMNS, parseJob, parseWithPayload, type Values } from '../../src/store/job-row.js'

const JSON_COLUMNS = ['tags', 'depends_on', 'artifacts', 'error']
/** No two columns hold the same. */
const values = COLUMNS.map((name, i) =>
  JSON_COLUMNS.includes(name) ? `["${name}"]` : `value ${i}`,
) as unknown as Values
const fields = Object.fromEntries(COLUMNS.map((name, i) => [name, JSON_COLUMNS.includes(name) ? [name] : values[i]]))

test('each column comes to the field of its name', () => {
  expect(parseJob(values)).toEqual(fields)
})

test('so does the payload, which stands last', () => {
  expect(parseWithPayload([...values, '{"n":1}'])).toEqual({ ...fields, payload: '{"n":1}' })
})
