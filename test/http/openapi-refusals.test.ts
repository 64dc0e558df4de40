// What every operation refuses in the same way, held to the description: odd requests, missing keys, large bodies, a stop.
import { describe, expect, test } from 'vitest'
import { newKey, sha256Of } from '../../src/api-key.js'
import { BEGUN, receive } from '../support/contract.js'
import { filled, name, operationsOf, startDescribed } from '../support/described.js'
import { receiveRaw } from '../support/raw-answer.js'

const METHODS = ['get', 'post', 'put', 'patch', 'delete']

type Described = Awaited<ReturnType<typeof startDescribed>>

/** Asks each operation, and answers what does not fit the description, or is not one of the `expected`. */
async function refusals(
  { described, contract }: Pick<Described, 'described' | 'contract'>,
  of: (operation: ReturnType<typeof operationsOf>[number]) => boolean,
  ask: (method: string, path: string) => ReturnType<typeof receive>,
  expected: string[],
): Promise<string[]> {
  const asked = operationsOf(described).filter(of)
  expect(asked.length).toBeGreaterThan(5)
  const wrong: string[] = []
  for (const { method, path } of asked) {
    const received = await ask(method, path)
    const { code } = JSON.parse(received.text)
    const deviations = contract.deviations(path, method, received)
    if (!expected.includes(`${received.status} ${code}`)) deviations.push(received.text)
    wrong.push(...deviations.map((text) => `${name(method, path)}: ${text}`))
  }
  return wrong
}

const all = () => true

describe('every operation', () => {
  test('refuses a request whose ends or whose host are in doubt, and a path that cannot be read', async () => {
    const service = await startDescribed()
    const { url } = service
    const raw = (hosts: string[], path: (path: string) => string) => (method: string, template: string) =>
      receiveRaw(url, `${method.toUpperCase()} ${path(template)} HTTP/1.1`, ...hosts.map((host) => `Host: ${host}`))
    const plain = (template: string) => filled(template)
    expect(await refusals(service, all, raw(['a', 'b'], plain), ['400 malformed_request'])).toEqual([])
    expect(await refusals(service, all, raw(['evil.example'], plain), ['403 forbidden_host'])).toEqual([])
    const broken = (template: string) => template.replaceAll(/\{\w+\}/g, '%zz')
    const hasParameter = ({ path }: { path: string }) => path.includes('{')
    expect(await refusals(service, hasParameter, raw(['localhost'], broken), ['400 malformed_request'])).toEqual([])
  })

  test('that changes something refuses pages of other sites', async () => {
    const service = await startDescribed()
    const ask = (method: string, path: string) =>
      receive(service.url + filled(path), { method: method.toUpperCase(), headers: { Origin: 'https://evil.example' } })
    expect(await refusals(service, ({ method }) => method !== 'get', ask, ['403 forbidden_origin'])).toEqual([])
  })

  test('that reads a body refuses one that is too large, or in a form that is not read', async () => {
    const service = await startDescribed()
    const reads = ({ operation }: { operation: { responses: object } }) => '413' in operation.responses
    const ask = (init: RequestInit) => (method: string, path: string) =>
      receive(service.url + filled(path), { method: method.toUpperCase(), ...init })
    const large = { body: JSON.stringify({ text: 'x'.repeat(70_000) }) }
    expect(await refusals(service, reads, ask(large), ['413 body_too_large'])).toEqual([])
    const deep = { body: `${'['.repeat(70)}${']'.repeat(70)}` }
    expect(await refusals(service, reads, ask(deep), ['400 malformed_request'])).toEqual([])
    const huge = { body: '{"a":1e400}' }
    expect(await refusals(service, reads, ask(huge), ['400 malformed_request'])).toEqual([])
    const unread: [string, string][] = [
      ['Content-Encoding', 'gzip'],
      ['Content-Type', 'multipart/form-data; boundary=x'],
      ['Content-Type', 'application/json; charset=utf-16'],
    ]
    for (const header of unread) {
      const sent = { body: '{}', headers: [header] }
      expect(await refusals(service, reads, ask(sent), ['415 unsupported_media_type'])).toEqual([])
    }
  })

  test('of a path has those methods that are described, and HEAD with GET', async () => {
    const { url, described, contract } = await startDescribed()
    for (const [path, item] of Object.entries(described.paths)) {
      const there = Object.keys(item)
      const allowed = there.flatMap((method) => (method === 'get' ? ['GET', 'HEAD'] : method.toUpperCase()))
      for (const method of METHODS.filter((method) => !there.includes(method))) {
        const { status, headers, text } = await receive(url + filled(path), { method: method.toUpperCase() })
        expect([path, method, status, JSON.parse(text).code]).toEqual([path, method, 405, 'method_not_allowed'])
        expect(headers.get('allow')?.split(', ').sort()).toEqual(allowed.sort())
        expect(contract.misfit('#/components/schemas/Problem', JSON.parse(text))).toBeNull()
      }
      if (!there.includes('get')) continue
      const received = await receive(url + filled(path), { method: 'HEAD' })
      expect([path, received.text, contract.deviations(path, 'get', received, false)]).toEqual([path, '', []])
    }
  })
})

describe('where there are keys, every operation', () => {
  const scopes = ['jobs:read', 'jobs:write', 'admin']
  const keys = scopes.map((scope) => ({ name: scope.replace(':', '-'), key: newKey(), scopes: [scope] }))
  const auth = { keys: keys.map(({ key, ...rest }) => ({ ...rest, sha256: sha256Of(key) })) }
  const bearer = (scope: string) => ({ Authorization: `Bearer ${keys[scopes.indexOf(scope)]?.key}` })

  test('asks for one, with the scope that is described', async () => {
    const service = await startDescribed({ auth }, bearer('jobs:read'))
    const { url, contract, described } = service
    const needs = ({ operation }: { operation: { security: object[] } }) => operation.security.length > 0
    const scopeOf = (method: string, path: string) =>
      String(Object.values(described.paths[path]?.[method]?.security[0] ?? {})[0])
    const ask = (headers: (method: string, path: string) => Record<string, string>) => (method: string, path: string) =>
      receive(url + filled(path), { method: method.toUpperCase(), headers: headers(method, path) }, BEGUN)
    expect(
      await refusals(
        service,
        needs,
        ask(() => ({})),
        ['401 unauthorized'],
      ),
    ).toEqual([])
    const other = (scope: string) => (scope === 'jobs:read' ? 'jobs:write' : 'jobs:read')
    const wrong = ask((method, path) => bearer(other(scopeOf(method, path))))
    expect(await refusals(service, needs, wrong, ['403 insufficient_scope'])).toEqual([])
    const open: string[] = []
    for (const { method, path, operation } of operationsOf(described)) {
      const right = ask(() => (needs({ operation }) ? bearer(scopeOf(method, path)) : {}))
      const received = await right(method, path)
      expect([401, 403]).not.toContain(received.status)
      expect(contract.deviations(path, method, received)).toEqual([])
      if (!needs({ operation })) open.push(path)
    }
    expect(open).toEqual(['/livez', '/readyz'])
    const page = await receive(`${url}/docs`, { headers: { Accept: 'text/html' } })
    expect(contract.deviations('/docs', 'get', page)).toEqual([])
    expect([page.status, page.headers.get('location')]).toEqual([303, '/ui/login?next=%2Fdocs'])
  })
})

test('while it stops, what makes jobs is refused with 503 as described', async () => {
  const service = await startDescribed()
  const { submit, reaches, url } = service
  const { id } = await submit({ type: 'polite' })
  await reaches(id, 'processing')
  void service.service.stop()
  const bodies: Record<string, object> = {
    '/jobs': { type: 'greet' },
    '/jobs/batch': { jobs: [{ type: 'greet' }] },
    '/schedules/{name}': { every: '1d', job: { type: 'greet' } },
    '/schedules/{name}/run': {},
    '/digests/{name}/events': { kind: 'a', text: 'b' },
  }
  const submits = ({ method, path }: { method: string; path: string }) =>
    (method !== 'get' && path in bodies && method !== 'delete') || path === '/readyz'
  const ask = (method: string, path: string) =>
    receive(url + filled(path), {
      method: method.toUpperCase(),
      ...(path in bodies ? { body: JSON.stringify(bodies[path]) } : {}),
    })
  expect(await refusals(service, submits, ask, ['503 draining', '503 not_ready'])).toEqual([])
})
