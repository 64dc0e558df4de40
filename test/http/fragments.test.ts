// Jobs as pieces of HTML for pages with htmx: what they ask for next, what they end with, and that nothing in them is taken for HTML.
import { describe, expect, test } from 'vitest'
import { startService } from '../support/service.js'

const HX = { 'HX-Request': 'true' }
const POLYGLOT = `"'><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}<!--`

/** Tags and attributes, in their order. */
const markup = (text: string) => [...text.matchAll(/<[a-z!/][^>]*>/g)].map(([tag]) => tag.replaceAll(/"[^"]*"/g, '""'))

const TYPES = {
  'types/picture.mjs': `export default { run(_, ctx) {
    ctx.artifact('a b.png', { content_type: 'image/png' }).end('png')
    ctx.artifact('list.csv').end('a,b')
    return { done: true } } }`,
  'types/fails.mjs': `export default { retry_count: 0, run({ message }) { throw new Error(message) } }`,
}

describe('a fragment', () => {
  test('asks for itself while the job goes on, and no more when it has ended', async () => {
    const { http, submit, reaches } = await startService()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'throw' } })
    await reaches(id, 'processing')
    const under_way = await http.get(`/jobs/${id}/fragment`).expect(200)
    expect(under_way.headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
    expect(under_way.headers).not.toHaveProperty('hx-trigger')
    expect(under_way.text).toContain(`hx-get="/jobs/${id}/fragment" hx-trigger="every 2s" hx-swap="outerHTML"`)
    expect(under_way.text).toMatch(/<progress max="100" value="\d+" aria-label="polite">/)
    expect(under_way.text).toContain(`hx-post="/jobs/${id}/cancel"`)

    const cancel = await http.post(`/jobs/${id}/cancel`).set(HX).expect(202)
    expect(cancel.headers['hx-trigger']).toBe('jobAccepted')
    await reaches(id, 'cancelled')
    const ended = await http.get(`/jobs/${id}/fragment`).expect(200)
    expect(ended.headers['hx-trigger']).toBe('jobFailed')
    expect(ended.text).not.toMatch(/hx-get|every/)
    expect(ended.text).toContain(`hx-post="/jobs/${id}/rerun"`)
    const again = await http.post(`/jobs/${id}/rerun`).set(HX).expect(202)
    expect(again.headers['hx-trigger']).toBe('jobAccepted')
    expect(again.text).toContain('every 2s')
  })

  test('ends with what the job made: links, and images in place', async () => {
    const { http, reaches } = await startService({ files: TYPES })
    const form = await http.post('/jobs').set(HX).type('form').send('type=picture').expect(202)
    expect(form.headers['hx-trigger']).toBe('jobAccepted')
    const id = /id="job-([\w-]+)"/.exec(form.text)?.[1] as string
    await reaches(id, 'completed')
    const { text, headers } = await http.get(`/jobs/${id}/fragment`).expect(200)
    expect(headers['hx-trigger']).toBe('jobCompleted')
    expect(text).toContain(`<img src="/jobs/${id}/artifacts/a%20b.png" alt="a b.png">`)
    expect(text).toContain(`<a href="/jobs/${id}/artifacts/list.csv" download="list.csv">list.csv</a>`)
    expect(text.match(/<img/g)).toHaveLength(1)
  })

  test('leads a page of a listed site back here, and may be read by it', async () => {
    const Origin = 'https://shop.example.com'
    const { http, url } = await startService({ config: { server: { cors_origins: [Origin] } } })
    const { text, headers } = await http
      .post('/jobs')
      .set({ ...HX, Origin })
      .send({ type: 'endless' })
      .expect(202)
    expect(text).toMatch(new RegExp(`hx-get="https://${new URL(url).host}/jobs/[\\w-]+/fragment"`))
    expect(headers['access-control-expose-headers']).toContain('HX-Trigger')
    const preflight = await http.options('/jobs').set({ Origin, 'Access-Control-Request-Method': 'POST' }).expect(204)
    for (const name of ['HX-Request', 'HX-Current-URL', 'HX-Source', 'HX-Target'])
      expect(preflight.headers['access-control-allow-headers']).toContain(name)
  })

  test('tells what was wrong with a submission', async () => {
    const { http } = await startService()
    const { text, headers } = await http.post('/jobs').set(HX).send({ type: 'email', payload: {} }).expect(422)
    expect(headers['content-type']).toMatch(/^text\/html/)
    expect(text).toMatch(/^<div class="jobmill-problem" role="alert">/)
    expect(text).toContain('<code>/payload/to</code>')
    await http
      .get('/jobs/none/fragment')
      .set(HX)
      .expect(404)
      .expect('content-type', /^text\/html/)
    await http.get('/jobs/none/fragment').expect(404).expect('content-type', 'application/problem+json')
  })

  test('shows hostile text as text', async () => {
    const { http, submit, ends } = await startService({ files: TYPES })
    const of = async (message: string) => {
      const { id } = await submit({ type: 'fails', payload: { message } })
      await ends(id)
      return (await http.get(`/jobs/${id}/fragment`).expect(200)).text
    }
    const [hostile, harmless] = [await of(POLYGLOT), await of('no luck')]
    expect(markup(hostile)).toEqual(markup(harmless))
    expect(hostile).toContain('&lt;script&gt;')
    const problem = async (type: string) => (await http.post('/jobs').set(HX).send({ type }).expect(422)).text
    expect(markup(await problem(POLYGLOT))).toEqual(markup(await problem('none')))
  })
})
