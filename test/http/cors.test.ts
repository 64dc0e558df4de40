// Pages of listed sites may use the API from a browser (Fetch standard); all others stay out.
import { describe, expect, test } from 'vitest'
import { newKey, sha256Of } from '../../src/api-key.js'
import { shareService, startService } from '../support/service.js'

const SHOP = 'https://shop.example.com'
const key = newKey()
const server = { cors_origins: [SHOP] }
const theService = shareService({ config: { server } })
const startWithKey = () =>
  startService({
    config: { server, auth: { keys: [{ name: 'k', sha256: sha256Of(key), scopes: ['jobs:write'] }] } },
  })

describe('a page of a listed site', () => {
  test('is told by the preflight, without a key, what it may send', async () => {
    const { http } = await startWithKey()
    const { headers } = await http
      .options('/jobs')
      .set({ Origin: SHOP, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization' })
      .expect(204)
    expect(headers['access-control-allow-origin']).toBe(SHOP)
    expect(headers['access-control-allow-methods']).toContain('POST')
    expect(headers['access-control-allow-headers']).toContain('Authorization')
    expect(headers).not.toHaveProperty('access-control-allow-credentials')
    expect(headers.vary).toBe('Origin')
  })

  test('may submit, and read the answer and its headers, also where it is an error', async () => {
    const { http } = await theService()
    const site = { Origin: SHOP, 'Sec-Fetch-Site': 'cross-site' }
    for (const [body, status] of [
      [{ type: 'greet' }, 202],
      [{ type: 'nope' }, 422],
    ] as const) {
      const { headers } = await http.post('/jobs').set(site).send(body).expect(status)
      expect(headers['access-control-allow-origin']).toBe(SHOP)
      expect(headers['access-control-expose-headers']).toContain('Location')
    }
  })

  test('reads that it needs a key', async () => {
    const { http } = await startWithKey()
    const { headers } = await http.get('/jobs').set('Origin', SHOP).expect(401)
    expect(headers['access-control-allow-origin']).toBe(SHOP)
  })
})

describe('a page of any other site', () => {
  test.each(['https://evil.example.com', 'https://shop.example.com.evil.com', 'http://shop.example.com', 'null'])(
    'is kept out: %s',
    async (origin) => {
      const { http } = await theService()
      const preflight = await http.options('/jobs').set({ Origin: origin, 'Access-Control-Request-Method': 'POST' })
      expect(preflight.headers).not.toHaveProperty('access-control-allow-origin')
      const posted = await http.post('/jobs').set('Origin', origin).send({ type: 'greet' }).expect(403)
      expect(posted.body.code).toBe('forbidden_origin')
      const read = await http.get('/jobs').set('Origin', origin).expect(200)
      expect(read.headers).not.toHaveProperty('access-control-allow-origin')
      expect(read.headers.vary).toBe('Origin')
    },
  )
})

test('without listed sites there are no such headers', async () => {
  const { http } = await startService()
  const { headers } = await http.get('/jobs').set('Origin', SHOP)
  expect(headers).not.toHaveProperty('access-control-allow-origin')
  expect(headers).not.toHaveProperty('vary')
})
