// API keys: who is let in, what each scope may do, and that strangers learn nothing.
import { describe, expect, test } from 'vitest'
import { newKey, sha256Of } from '../../src/api-key.js'
import { shareService, startService } from '../support/service.js'

const KEYS = { reader: newKey(), writer: newKey(), admin: newKey() }
const auth = {
  keys: [
    { name: 'reader', sha256: sha256Of(KEYS.reader), scopes: ['jobs:read'] },
    { name: 'writer', sha256: sha256Of(KEYS.writer).toUpperCase(), scopes: ['jobs:write'] },
    { name: 'boss', sha256: sha256Of(KEYS.admin), scopes: ['admin'] },
  ],
}
const bearer = (key: string) => `Bearer ${key}`
const start = shareService({ config: { auth } })

describe('once there is a key', () => {
  test('no route answers without one, whether it exists or not, but for the probes, and what asks for one', async () => {
    const { service, http } = await start()
    const router = service.app.router as unknown as { stack: { route?: { path: string; methods: object } }[] }
    const routes = router.stack.flatMap(({ route }) => (route === undefined ? [] : [route]))
    expect(routes.length).toBeGreaterThan(8)
    const answers: Record<string, number> = {}
    for (const { path, methods } of routes)
      for (const method of Object.keys(methods).filter((name) => !['connect', 'options', 'head'].includes(name))) {
        const answer = await http[method as 'get'](path.replace(/:\w+/g, 'x'))
        answers[`${method} ${path}`] = answer.status
        if (answer.status === 401) expect(answer.headers['www-authenticate']).toBe('Bearer realm="jobmill"')
      }
    const open = Object.entries(answers).filter(([, status]) => ![401, 405].includes(status))
    expect(open).toEqual([
      ['get /livez', 200],
      ['get /readyz', 200],
      ['get /ui/assets/:name', 404],
      ['get /ui/login', 200],
      ['post /ui/login', 403],
    ])
    for (const path of ['/', '/nothing', '/jobs/x/y/z', '/livez/more']) await http.get(path).expect(401)
    expect((await http.get('/jobs').expect(401)).body).toMatchObject({ code: 'unauthorized', status: 401 })
  })

  test.each([
    ['another key', () => bearer(newKey())],
    ['the hash instead of the key', () => bearer(sha256Of(KEYS.admin))],
    ['a key with something behind it', () => bearer(`${KEYS.admin}x`)],
    ['a very long token', () => bearer('x'.repeat(10_000))],
  ])('%s is an invalid token', async (_, authorization) => {
    const { http } = await start()
    const { headers, text } = await http.get('/jobs').set('Authorization', authorization()).expect(401)
    expect(headers['www-authenticate']).toBe('Bearer realm="jobmill", error="invalid_token"')
    expect(text).toContain('the API key is not known here')
    expect(text).not.toContain(authorization().slice(7, 40))
  })

  test.each([
    '',
    'Bearer',
    'Bearer ',
    'Basic dXNlcjpwYXNz',
    `Basic ${KEYS.admin}`,
    KEYS.admin,
    `Bearer ${KEYS.admin} x`,
  ])('no key is in "%s"', async (authorization) => {
    const { http } = await start()
    const { headers, body } = await http.get('/jobs').set('Authorization', authorization).expect(401)
    expect(headers['www-authenticate']).toBe('Bearer realm="jobmill"')
    expect(body.detail).toBe('send Authorization: Bearer with an API key of this server')
    await http.get(`/jobs?access_token=${KEYS.admin}`).expect(401)
  })

  test('the scheme may be written in any case', async () => {
    const { http } = await start()
    await http.get('/jobs').set('Authorization', `bEARER  ${KEYS.reader}`).expect(200)
  })

  test('a body is not read before the key is', async () => {
    const { http } = await start()
    await http.post('/jobs').set('Content-Type', 'application/json').send('{broken').expect(401)
  })
})

describe('a scope', () => {
  test.each([
    ['get', '/jobs', { reader: 200, writer: 403, admin: 200 }],
    ['get', '/workers/stats', { reader: 200, writer: 403, admin: 200 }],
    ['get', '/types', { reader: 200, writer: 403, admin: 200 }],
    ['post', '/jobs', { reader: 403, writer: 202, admin: 202 }],
    ['post', '/jobs/x/cancel', { reader: 403, writer: 404, admin: 404 }],
    ['delete', '/jobs/x', { reader: 403, writer: 404, admin: 404 }],
    ['put', '/workers', { reader: 403, writer: 403, admin: 200 }],
  ] as const)('lets through to %s %s: %j', async (method, path, expected) => {
    const { http } = await start()
    const body = path === '/workers' ? { max_workers: 3 } : path === '/jobs' ? { type: 'greet' } : {}
    for (const who of ['reader', 'writer', 'admin'] as const) {
      const request = http[method](path).set('Authorization', bearer(KEYS[who]))
      const { status, headers } = await (method === 'get' ? request : request.send(body))
      expect([who, status]).toEqual([who, expected[who]])
      if (status === 403)
        expect(headers['www-authenticate']).toMatch(/error="insufficient_scope", scope="(jobs:\w+|admin)"$/)
    }
  })
})

test('without a key all is open, on loopback', async () => {
  const { http } = await startService()
  await http.get('/jobs').expect(200)
  await http.get('/jobs').set('Authorization', bearer('whatever-this-is')).expect(200)
})

test('neither keys nor tokens are logged', async () => {
  const { http, lines } = await start()
  const wrong = newKey()
  await http.get('/jobs').set('Authorization', bearer(wrong))
  await http.post('/jobs').set('Authorization', bearer(KEYS.writer)).send({ type: 'greet', payload: {} })
  const log = JSON.stringify(lines)
  for (const secret of [wrong, ...Object.values(KEYS), sha256Of(KEYS.admin)]) expect(log).not.toContain(secret)
})
