// The description of the API, held to what the service does: its routes, its examples, every answer to good input.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BUILD } from '../../src/build.js'
import { goodRequests } from '../support/api-requests.js'
import { createContract, type Description, type Media, pointer, receive } from '../support/contract.js'
import { filled, name, operationsOf, startDescribed } from '../support/described.js'
import { startService } from '../support/service.js'

describe('the description', () => {
  test('names each route with each of its methods, and no other', async () => {
    const { service, described } = await startDescribed()
    const { stack } = service.app.router as unknown as { stack: { route?: { path: string; methods: object } }[] }
    const routes = stack.flatMap(({ route }) => (route === undefined ? [] : [route]))
    // Pages for people, their files, and what leads to them.
    const api = routes.filter(({ path }) => !/^\/(ui(\/.*)?)?$/.test(path))
    // The refusal of methods that a route has not is one of every method.
    const served = api
      .filter(({ methods }) => Object.keys(methods).length === 1)
      .map(({ path, methods }) => name(String(Object.keys(methods)[0]), path.replaceAll(/:(\w+)/g, '{$1}')))
    expect(new Set(operationsOf(described).map(({ path, method }) => name(method, path)))).toEqual(new Set(served))
    expect(served.length).toBeGreaterThan(35)
  })

  test('has examples that fit their schemas', async () => {
    const { described, contract } = await startDescribed()
    const seen: string[] = []
    const wrong: string[] = []
    const check = (at: string, value: unknown) => {
      seen.push(at)
      const misfit = contract.misfit(at, value)
      if (misfit !== null) wrong.push(`${at}: ${misfit}`)
    }
    const checkMedia = (at: string, media: Record<string, Media> = {}) => {
      for (const [type, { schema, examples = {} }] of Object.entries(media))
        for (const { value, $ref } of Object.values(examples)) {
          const place = `${at}/content/${type.replaceAll('/', '~1')}/schema`
          const shown = $ref === undefined ? value : described.components.examples?.[$ref.split('/')[3] ?? '']?.value
          check(place, shown)
          if (schema.contentSchema === undefined || typeof shown !== 'string') continue
          for (const line of shown.split('\n').filter((line) => /^(data: )?\{/.test(line)))
            check(`${place}/contentSchema/items`, JSON.parse(line.replace('data: ', '')))
        }
    }
    for (const { path, method, operation } of operationsOf(described)) {
      const at = pointer('paths', path, method)
      checkMedia(`${at}/requestBody`, operation.requestBody?.content)
      for (const [status, { content }] of Object.entries(operation.responses))
        checkMedia(`${at}/responses/${status}`, content)
      for (const [i, { example }] of (operation.parameters ?? []).entries())
        if (example !== undefined) check(`${at}/parameters/${i}/schema`, example)
    }
    for (const [code, { content }] of Object.entries(described.components.responses ?? {}))
      checkMedia(pointer('components', 'responses', code), content as Record<string, Media>)
    expect(wrong).toEqual([])
    expect(seen.length).toBeGreaterThan(150)
  })

  test('says of each type what it takes', async () => {
    const { described, contract } = await startDescribed()
    const at = '#/components/schemas/JobSubmission'
    expect(Object.keys(described.components.schemas ?? {})).toEqual(
      expect.arrayContaining(['payload.email', 'payload.export', 'payload.cleanup', 'payload.strict', 'payload.greet']),
    )
    const leaf = { name: 'leaf' }
    expect(
      contract.misfit(at, { type: 'strict', payload: { ...leaf, children: [{ ...leaf, children: [leaf] }] } }),
    ).toBeNull()
    expect(contract.misfit(at, { type: 'strict', payload: { ...leaf, children: [{ name: '' }] } })).not.toBeNull()
    expect(contract.misfit(at, { type: 'strict' })).not.toBeNull()
    expect(contract.misfit(at, { type: 'greet' })).toBeNull()
    expect(contract.misfit(at, { type: 'nobody' })).not.toBeNull()
  })

  test('takes a type whose schema cannot be sent for one that takes all', async () => {
    const odd = `import { z } from '${import.meta.resolve('zod')}'
    export default { payload: z.strictObject({ n: z.number().meta({ examples: [1n] }) }), run: () => null }`
    const { http } = await startService({ files: { 'types/odd.mjs': odd } })
    const { types } = (await http.get('/types').expect(200)).body
    expect(types.find(({ name }: { name: string }) => name === 'odd')).toMatchObject({ payload_schema: {} })
    const { components } = (await http.get('/openapi.json').expect(200)).body
    expect(components.schemas['payload.odd']).toEqual({ title: 'odd', description: '' })
    await http.post('/jobs').send({ type: 'odd', payload: {} }).expect(422)
  })

  test('is answered with 304 to who has it', async () => {
    const { http } = await startDescribed()
    const { headers } = await http
      .get('/openapi.json')
      .expect(200)
      .expect('content-type', 'application/json; charset=utf-8')
    await http.get('/openapi.json').set('If-None-Match', String(headers.etag)).expect(304)
  })
})

/** Statuses that the tests further down have, and those that take a full disk or a mistake of ours. */
const ELSEWHERE = ['400', '401', '403', '413', '415', '500', '503', '507']

test('the page that shows it asks this server alone, and runs no script from elsewhere', async () => {
  const { http } = await startService()
  const { text, headers } = await http.get('/docs').expect(200).expect('content-type', 'text/html; charset=utf-8')
  expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self';")
  expect(text).not.toMatch(/https?:|<script>|<style/)
  const scripts = [...text.matchAll(/<script src="([^"]+)"/g)].map(([, src]) => String(src))
  expect(scripts).toEqual(['/ui/assets/scalar.js', '/ui/assets/docs.js'])
  for (const script of scripts)
    await http
      .get(script)
      .expect(200)
      .expect('content-type', /^text\/javascript/)
  const settings = (await http.get('/ui/assets/docs.js')).text
  for (const off of ["proxyUrl: ''", 'withDefaultFonts: false', 'telemetry: false']) expect(settings).toContain(off)
  expect(readFileSync(new URL('src/ui/assets/scalar.LICENSE', BUILD), 'utf8')).toContain('MIT License')
})

describe('an answer fits the description', () => {
  test('of every operation, with every status that can be had', async () => {
    const service = await startDescribed()
    const { described, contract, url } = service
    const reached = new Set<string>()
    const wrong: string[] = []
    for await (const { method, path, values = [], query = '', init = {}, expected } of goodRequests(service)) {
      const received = await receive(url + filled(path, ...values) + query, { method: method.toUpperCase(), ...init })
      reached.add(`${name(method, path)} ${received.status}`)
      const deviations = contract.deviations(path, method, received)
      if (received.status !== expected) deviations.push(`${received.status} instead of ${expected}: ${received.text}`)
      wrong.push(...deviations.map((text) => `${name(method, path)}${query}: ${text}`))
    }
    expect(wrong).toEqual([])
    const all = operationsOf(described).flatMap(({ path, method, operation }) =>
      Object.keys(operation.responses)
        .filter((status) => !ELSEWHERE.includes(status))
        .map((status) => `${name(method, path)} ${status}`),
    )
    expect(all.filter((one) => !reached.has(one))).toEqual([
      // Their types have to be gone since the last start.
      'POST /jobs/{id}/rerun 422',
      'POST /schedules/{name}/run 422',
      // A browser without a key is sent to the sign-in.
      'GET /docs 303',
    ])
  }, 60_000)

  test('and does not fit one from which a field, a status or a type of content was taken out (control)', async () => {
    const { url, described, submit } = await startDescribed()
    const { id } = await submit({ type: 'polite' })
    const received = await receive(`${url}/jobs/${id}`)
    const deviations = (change: (description: Description) => void) => {
      const changed = structuredClone(described)
      change(changed)
      return createContract(changed).deviations('/jobs/{id}', 'get', received)
    }
    const answer = (description: Description) => description.paths['/jobs/{id}']?.get?.responses ?? {}
    expect(deviations(() => {})).toEqual([])
    const fields = deviations(({ components }) =>
      Reflect.deleteProperty(Object(components.schemas?.Job?.properties), 'reason'),
    )
    expect(fields).toEqual([expect.stringContaining('must NOT have additional properties')])
    const status = deviations((description) => Reflect.deleteProperty(answer(description), '200'))
    expect(status).toEqual([expect.stringContaining('200 is not described')])
    const content = deviations((description) => Object.assign(Object(answer(description)['200']), { content: {} }))
    expect(content).toEqual(['200 is application/json, which is not described'])
    const kind = deviations(({ components }) =>
      Object.assign(Object(components.schemas?.Job?.properties), { progress: { type: 'string' } }),
    )
    expect(kind).toEqual([expect.stringContaining('must be string')])
  })
})
