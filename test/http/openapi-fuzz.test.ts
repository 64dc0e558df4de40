// Random input, good and bad, to every operation: answers fit the description, and what it forbids is refused.
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { BEGUN, createContract, type Description, pointer, type Received, receive } from '../support/contract.js'
import { filled, name, operationsOf, startDescribed } from '../support/described.js'
import { changed, changes, oddText } from '../support/odd.js'

/** More of them: `FUZZ=20 npx vitest run test/http/openapi-fuzz.test.ts`. A failure tells its seed. */
const TIMES = Number(process.env.FUZZ ?? 1)
vi.setConfig({ testTimeout: 120_000 * TIMES })

type Described = Awaited<ReturnType<typeof startDescribed>>
type Operation = ReturnType<typeof operationsOf>[number]

/** Says what was sent, where an answer is not as it should be; fast-check tells the seed, and how to see it again. */
function expectFit(deviations: string[], sent: string): void {
  if (deviations.length > 0) throw new Error(`${deviations.join('; ')}\nsent: ${sent.slice(0, 1_000)}`)
}

const JSON_TYPE = 'application/json'
const hasJson = ({ operation }: Operation) => operation.requestBody?.content[JSON_TYPE] !== undefined

async function startFuzzed(): Promise<Described> {
  const service = await startDescribed()
  // Nothing that the fuzz submits is to be run.
  await service.http.post('/workers/pause').expect(200)
  for (const name of ['one', 'two'])
    await service.http
      .put(`/schedules/${name}`)
      .send({ every: '1d', job: { type: 'greet' } })
      .expect(201)
  return service
}

/** What the fuzz of bodies came to. */
interface Tally {
  forbidden: number
  allowed: number
  accepted: number
}

/** Sends examples with changes to the operations that `of` names. Rejects with the first answer that is not as described. */
async function fuzzBodies(
  { described, contract, url }: Described,
  of: (operation: Operation) => boolean,
): Promise<Tally> {
  const tally = { forbidden: 0, allowed: 0, accepted: 0 }
  for (const { path, method, operation } of operationsOf(described).filter(hasJson).filter(of)) {
    const at = `${pointer('paths', path, method)}/requestBody/content/application~1json/schema`
    const examples = Object.values(operation.requestBody?.content[JSON_TYPE]?.examples ?? {}).map(({ value }) => value)
    const values = fc.constantFrom('one', 'two', 'ops', 'none')
    const property = fc.asyncProperty(fc.constantFrom(...examples), changes, values, async (example, list, value) => {
      const body = JSON.stringify(changed(example, list))
      const received = await receive(url + filled(path, value), { method: method.toUpperCase(), body })
      const deviations = contract.deviations(path, method, received)
      const forbidden = contract.misfit(at, JSON.parse(body))
      if (received.status < 300 && forbidden !== null) deviations.push(`accepted, but ${forbidden}`)
      tally[forbidden === null ? 'allowed' : 'forbidden'] += 1
      if (received.status < 300) tally.accepted += 1
      expectFit(deviations, `${name(method, path)} ${body}`)
    })
    await fc.assert(property, { numRuns: 60 * TIMES })
  }
  return tally
}

describe('random bodies', () => {
  test('are answered as described, and refused where the description forbids them', async () => {
    const tally = await fuzzBodies(await startFuzzed(), () => true)
    // Each kind there was, many times.
    expect(Math.min(...Object.values(tally))).toBeGreaterThan(100)
  })

  test('are told from what a stricter description would say (control)', async () => {
    const service = await startFuzzed()
    const stricter = structuredClone(service.described)
    Reflect.deleteProperty(Object(stricter.components.schemas?.JobSubmission?.properties), 'delay')
    const contract = createContract(stricter)
    await expect(fuzzBodies({ ...service, contract }, ({ path }) => path === '/jobs')).rejects.toThrow(
      'Property failed',
    )
  })

  test('that are no JSON are answered as described', async () => {
    const { described, contract, url } = await startFuzzed()
    const sent = fc.oneof(
      oddText,
      fc.uint8Array({ minLength: 1, maxLength: 50 }).map((bytes) => new Blob([bytes])),
    )
    for (const { path, method } of operationsOf(described).filter(hasJson)) {
      const property = fc.asyncProperty(sent, async (body) => {
        const received = await receive(url + filled(path, 'one'), { method: method.toUpperCase(), body })
        expectFit(contract.deviations(path, method, received), name(method, path))
      })
      await fc.assert(property, { numRuns: 20 * TIMES })
    }
  })

  test('of lines are answered line by line as described', async () => {
    const { contract, url } = await startFuzzed()
    const line = fc.oneof(
      changes.map((list) => JSON.stringify(changed({ type: 'greet', payload: { name: 'you' }, priority: 2 }, list))),
      oddText,
    )
    const property = fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
      const body = lines.join('\n')
      const headers = { 'Content-Type': 'application/x-ndjson' }
      const received = await receive(`${url}/jobs/batch`, { method: 'POST', body, headers })
      expectFit(contract.deviations('/jobs/batch', 'post', received), body)
      const sent = body.split('\n').filter((text) => text.trim() !== '')
      const told = received.text.split('\n').filter(Boolean)
      expect(told).toHaveLength(sent.length)
      for (const [i, text] of sent.entries()) expectRefused(contract.misfit, text, JSON.parse(told[i] ?? ''))
    })
    await fc.assert(property, { numRuns: 150 * TIMES })
  })

  function expectRefused(misfit: Described['contract']['misfit'], text: string, answer: object): void {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      value = undefined
    }
    if (misfit('#/components/schemas/BatchLine', value) !== null) expect(answer).toHaveProperty('error')
  }
})

test('a job of any fields that the description allows is accepted', async () => {
  const { described, contract, url } = await startFuzzed()
  const text = (max: number) => fc.string({ minLength: 1, maxLength: max, unit: 'grapheme-ascii' })
  const span = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom('500ms', '10s', '1s'))
  const time = fc.date({ min: new Date('2035-01-01'), max: new Date('2090-01-01'), noInvalidDate: true })
  const instant = time.map((date) => date.toISOString())
  const tagName = fc.stringMatching(/^[\w.-]{1,64}$/).filter((name) => name !== '__proto__')
  const fields = {
    priority: fc.integer({ min: 1, max: 5 }),
    timeout: span,
    retry_count: fc.integer({ min: 0, max: 100 }),
    concurrency_key: text(255),
    tags: fc.dictionary(tagName, fc.string({ maxLength: 255 }), { maxKeys: 20 }),
  }
  const optional = fc.record({ ...fields, delay: span, start_by: instant }, { requiredKeys: [] })
  const keyed = fc.record(
    { ...fields, unique_key: text(255), unique_for: span, run_at: instant },
    { requiredKeys: ['unique_key'] },
  )
  const job = fc
    .tuple(
      fc.constantFrom({ type: 'greet', payload: { name: 'you' } }, { type: 'strict', payload: { name: 'x' } }),
      fc.oneof(optional, keyed),
    )
    .map(([base, more]) => ({ ...base, ...more }))
  const property = fc.asyncProperty(job, async (job) => {
    const body = JSON.stringify(job)
    expect(contract.misfit('#/components/schemas/JobSubmission', JSON.parse(body))).toBeNull()
    const received = await receive(`${url}/jobs`, { method: 'POST', body })
    expectFit(contract.deviations('/jobs', 'post', received), body)
    expect([received.status < 300, received.text]).toEqual([true, received.text])
  })
  await fc.assert(property, { numRuns: 200 * TIMES })
  expect(described.openapi).toBe('3.1.1')
})

describe('random query strings and ids', () => {
  const queryOf = ({ paths }: Description, path: string, method: string) =>
    (paths[path]?.[method]?.parameters ?? []).flatMap((parameter, i) =>
      parameter.in === 'query'
        ? [{ ...parameter, at: `${pointer('paths', path, method)}/parameters/${i}/schema` }]
        : [],
    )

  /** As it stands in a query string. */
  const read = (type: string | undefined, text: string) =>
    type === 'integer' && /^\d+$/.test(text) ? Number(text) : text

  test('are answered as described, and refused where the description forbids them', async () => {
    const { described, contract, url, submit } = await startFuzzed()
    const { id } = await submit({ type: 'greet' })
    await receive(`${url}/jobs/${id}/cancel`, { method: 'POST' })
    const tally = { forbidden: 0, accepted: 0 }
    const good = ['1', '5', '10', 'greet', 'pending', 'failed,completed', 'a:b', '2030-01-01T00:00:00Z', 'wait']
    const value = fc.oneof(fc.constantFrom(...good), oddText)
    for (const { path, method, operation } of operationsOf(described)) {
      const known = queryOf(described, path, method)
      if (known.length === 0) continue
      const names = fc.constantFrom(...known.map(({ name }) => name), 'unknown', '__proto__')
      const pairs = fc.uniqueArray(fc.tuple(names, value), { maxLength: 3, selector: ([name]) => name })
      const body = operation.requestBody === undefined ? {} : { body: '{"jobs":[{"type":"greet"}]}' }
      const values = fc.constantFrom(id, 'one', 'none')
      const property = fc.asyncProperty(pairs, values, async (pairs, at) => {
        const query = new URLSearchParams(pairs)
        const place = `${filled(path, at)}?${query}`
        const received: Received = await receive(url + place, { method: method.toUpperCase(), ...body }, BEGUN)
        const deviations = contract.deviations(path, method, received)
        const forbidden = [...query].some(([name, text]) => {
          const parameter = known.find((one) => one.name === name)
          return parameter === undefined || contract.misfit(parameter.at, read(parameter.schema.type, text)) !== null
        })
        if (forbidden) tally.forbidden += 1
        if (received.status < 300) tally.accepted += 1
        if (forbidden && received.status < 300) deviations.push('accepted, but forbidden')
        expectFit(deviations, place)
      })
      await fc.assert(property, { numRuns: 60 * TIMES })
    }
    expect(Math.min(...Object.values(tally))).toBeGreaterThan(50)
  })

  test('stand in any path', async () => {
    const { described, contract, url } = await startFuzzed()
    const id = oddText.map((text) => text.toWellFormed()).filter((text) => !/^\.{0,2}$/.test(text))
    for (const { path, method } of operationsOf(described).filter(({ path }) => path.includes('{'))) {
      const property = fc.asyncProperty(id, id, async (first, second) => {
        const place = filled(path, first, second)
        const received = await receive(url + place, { method: method.toUpperCase() })
        expectFit(contract.deviations(path, method, received), `${name(method, path)} at ${place}`)
        expect(received.status).toBeGreaterThanOrEqual(400)
      })
      await fc.assert(property, { numRuns: 30 * TIMES })
    }
  })
})
