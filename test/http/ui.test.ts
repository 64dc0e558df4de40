// The pages as a browser without scripts has them: what they show, what their forms do, and that nothing is taken for HTML.
import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'
import { newKey, sha256Of } from '../../src/api-key.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const POLYGLOT = `"'><img src=x onerror=alert(1)><script>alert(1)</script></title></pre>{{7*7}}<!--`
const TYPES = {
  'types/fails.mjs': `export default { retry_count: 0, run({ message }, ctx) {
    ctx.log(message); throw Object.assign(new Error(message), { stack: message }) } }`,
}

/** Tags with the names of their attributes, in their order. */
const markup = (text: string) => [...text.matchAll(/<[a-z!/][^>]*>/g)].map(([tag]) => tag.replaceAll(/"[^"]*"/g, '""'))

/** All views of a service in which every text that somebody may choose is this one. */
async function everyPage(text: string): Promise<string[]> {
  const told = `import { z } from '${createRequire(import.meta.url).resolve('zod')}'
    export default { description: ${JSON.stringify(text)}, run() {},
      payload: z.strictObject({ x: z.string().describe(${JSON.stringify(text)}).default(${JSON.stringify(text)}) }) }`
  const { http, submit, ends } = await startService({
    files: { ...TYPES, 'types/told.mjs': told },
    config: {
      schedules: { nightly: { cron: '0 3 * * *', job: { type: 'told', payload: { x: text }, tags: { note: text } } } },
      digests: { daily: { schedule: '0 7 * * *', recipients: 'ops@example.com', subject: text } },
    },
  })
  await http
    .post('/digests/daily/events')
    .send({ kind: text.slice(0, 64), text })
    .expect(202)
  const tags = { note: text }
  const { id } = await submit({ type: 'fails', payload: { message: text }, tags, concurrency_key: text })
  await ends(id)
  const tag = encodeURIComponent(`note:${text}`)
  const paths = [
    ...['/ui/', `/ui/jobs?tag=${tag}`, `/ui/jobs/${id}`, `/jobs/${id}/fragment`, `/ui/jobs/all?verb=cancel&tag=${tag}`],
    ...['/ui/submit', '/ui/submit/told', '/ui/types', '/ui/types/told', '/ui/workers', '/ui/nodes'],
    ...['/ui/schedules', '/ui/schedules/nightly', '/ui/digests', '/ui/digests/daily'],
  ]
  const seen = await Promise.all(paths.map((path) => http.get(path).expect(200)))
  const send = (path: string, fields: object) => http.post(path).type('form').send(fields)
  const missing = http
    .get(`/ui/jobs/${encodeURIComponent(text)}`)
    .set('accept', 'text/html')
    .expect(404)
  const others = [
    await missing,
    await send('/ui/submit/fails', { '/payload': text, '/unique_key': text, once: text }).expect(422),
    await send('/ui/jobs/all', { verb: 'rerun', tag: `note:${text}` }).expect(200),
    await http.post('/jobs').set('HX-Request', 'true').send({ type: text }).expect(422),
  ]
  return [...seen, ...others].map(({ text }) => text)
}

describe('the pages', () => {
  test('begin at /, and come with a policy that lets in nothing from elsewhere', async () => {
    const { http } = await startService()
    await http.get('/').expect(302).expect('location', '/ui/')
    await http.get('/ui').expect(302).expect('location', '/ui/')
    const { headers, text } = await http.get('/ui/').expect(200)
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/)
    expect(headers['content-security-policy']).not.toContain('unsafe')
    expect(text).not.toMatch(/https?:\/\/|style=|<script>| on\w+=/)
    for (const [, path] of text.matchAll(/(?:src|href)="(\/ui\/assets\/[^"]+)"/g))
      await http.get(String(path)).expect(200)
    for (const name of ['constructor', 'none', '..%2fpages.css']) await http.get(`/ui/assets/${name}`).expect(404)
  })

  test('show what runs, what waits and why, and what became of a job', async () => {
    const { http, submit, reaches } = await startService({ config: { worker: { max_workers: 1 } }, files: TYPES })
    const running = await submit({ type: 'polite', payload: { at_end: 'return' }, tags: { customer: '17' } })
    await reaches(running.id, 'processing')
    const waiting = await submit({ type: 'fails', payload: { message: 'no luck' } })
    const overview = (await http.get('/ui/').expect(200)).text
    expect(overview).toContain(`href="/ui/jobs/${running.id}"`)
    expect(overview).toContain('1 pending of at most 100')
    expect((await http.get(`/ui/jobs/${waiting.id}`).expect(200)).text).toMatch(/number 1 of those that wait/)

    const list = async (query: string) => {
      const { text } = await http.get(`/ui/jobs?${query}`).expect(200)
      return [running, waiting].map(({ id }) => text.includes(id))
    }
    expect(await list('')).toEqual([true, true])
    expect(await list('status=processing&type=&tag=')).toEqual([true, false])
    expect(await list('type=fails')).toEqual([false, true])
    expect(await list('tag=customer:17')).toEqual([true, false])
    await http.get(`/ui/find?id=%20${running.id}`).expect(302).expect('location', `/ui/jobs/${running.id}`)

    await http
      .post(`/ui/jobs/${running.id}/cancel`)
      .type('form')
      .send('')
      .expect(303)
      .expect('location', `/ui/jobs/${running.id}`)
    await reaches(running.id, 'cancelled')
    await reaches(waiting.id, 'failed')
    const failed = (await http.get(`/ui/jobs/${waiting.id}`).expect(200)).text
    for (const words of ['handler_error', 'no luck', '<summary>Stack</summary>', 'Run again', '<h2 id="log-of">'])
      expect(failed).toContain(words)
    expect(failed).not.toContain('hx-sse:connect')
    await http.post(`/ui/jobs/${waiting.id}/rerun`).expect(303)
    await reaches(waiting.id, 'failed')
    expect((await http.get(`/ui/jobs/${waiting.id}`).expect(200)).text.match(/<time datetime="[^"]+">/g)).toHaveLength(
      2,
    )
  })

  test('turn over by a link to older jobs', async () => {
    const { http } = await startService({ config: { worker: { queue_size: 1_000 } } })
    const jobs = Array.from({ length: 60 }, () => ({ type: 'greet', delay: '1h', payload: { name: 'x' } }))
    await http.post('/jobs/batch').send({ jobs }).expect(202)
    const first = (await http.get('/ui/jobs?type=greet').expect(200)).text
    const [, next = ''] = /<a href="([^"]+)">Older jobs/.exec(first) ?? []
    const second = (await http.get(next.replaceAll('&amp;', '&')).expect(200)).text
    const ids = (text: string) => [...text.matchAll(/href="\/ui\/jobs\/([\w-]+)"/g)].map(([, id]) => id)
    expect(new Set([...ids(first), ...ids(second)]).size).toBe(60)
    expect(second).not.toContain('Older jobs')
  })

  test('show schedules, run them, pause them; jobmill’s own among them', async () => {
    const nightly = { cron: '0 3 * * *', job: { type: 'greet', payload: { name: 'you' } } }
    const { http, reaches } = await startService({ config: { schedules: { nightly } } })
    const list = (await http.get('/ui/schedules').expect(200)).text
    for (const words of ['nightly', '0 3 * * *', 'system.retention']) expect(list).toContain(words)
    const page = async () => (await http.get('/ui/schedules/nightly').expect(200)).text
    expect((await page()).match(/<li><time/g)).toHaveLength(10)
    expect(await page()).toContain('&quot;name&quot;: &quot;you&quot;')
    const { headers } = await http.post('/ui/schedules/nightly/run').expect(303)
    const [, id = ''] = /^\/ui\/jobs\/(.+)$/.exec(headers.location ?? '') ?? []
    await reaches(id, 'completed')
    expect(await page()).toContain(`href="/ui/jobs/${id}"`)
    await http.post('/ui/schedules/nightly/pause').expect(303).expect('location', '/ui/schedules/nightly')
    expect(await page()).toContain('Resume')
    await http.post('/ui/schedules/nightly/resume').expect(303)
    expect(await page()).toContain('Pause')
    await http
      .post('/ui/schedules/system.retention/run')
      .expect(303)
      .expect('location', '/ui/schedules/system.retention')
    expect((await http.get('/ui/schedules/system.retention').expect(200)).text).toContain('Run now')
    await http.get('/ui/schedules/none').expect(404)
  })

  test('show the workers, and change how many there are and which types run', async () => {
    const { http } = await startService({ config: { worker: { max_workers: 2 } } })
    const page = async () => (await http.get('/ui/workers').expect(200)).text
    expect(await page()).toMatch(/value="2"[\s\S]*2 slots/)
    await http.post('/ui/workers/scale').type('form').send({ max_workers: '3' }).expect(303)
    expect(await page()).toMatch(/value="3"[\s\S]*3 slots/)
    const types = async () => (await http.get('/ui/types').expect(200)).text
    expect(await types()).toMatch(/Submit greet[\s\S]*Pause greet/)
    await http.post('/ui/types/greet/pause').expect(303).expect('location', '/ui/types')
    expect(await types()).toContain('Resume greet')
    expect((await http.get('/ui/types/greet').expect(200)).text).toMatch(/paused[\s\S]*as many as there are slots/)
    expect((await http.get('/ui/types/email').expect(200)).text).toContain('&quot;reply_to&quot;: {')
    expect((await http.get('/ui/').expect(200)).text).toContain('Paused: greet')
    await http.get('/ui/types/none').expect(404)
    await http.post('/ui/types/greet/resume').expect(303)
    await http.post('/ui/workers/pause').expect(303)
    expect(await page()).toContain('Resume all types')
    await http.post('/ui/workers/scale').type('form').send({ max_workers: 'many' }).expect(422)
    await http.post('/ui/types/none/pause').expect(422)
  })

  test('show the node, as GET /nodes tells of it', async () => {
    const { http, submit, reaches } = await startService({ config: { worker: { max_workers: 2 } } })
    await reaches((await submit({ type: 'polite' })).id, 'processing')
    const [node, ...others] = (await http.get('/nodes').expect(200)).body.nodes
    expect(others).toEqual([])
    const { node: id } = (await http.get('/workers/stats').expect(200)).body
    expect(node).toMatchObject({
      id,
      state: 'alive',
      pid: process.pid,
      max_workers: 2,
      active_workers: 1,
      trouble: null,
    })
    for (const at of [node.started_at, node.heartbeat_at]) expect(new Date(at).toISOString()).toBe(at)
    const page = (await http.get('/ui/nodes').expect(200)).text
    for (const words of [id, 'alive', '1 of 2']) expect(page).toContain(words)
  })

  test('show digests, and what the next mail of one would say', async () => {
    const daily = { schedule: '0 7 * * *', recipients: ['ops@example.com'], subject: 'Yesterday' }
    const { http } = await startService({ config: { digests: { daily } } })
    await http.post('/digests/daily/events').send({ kind: 'signup', text: 'somebody came' }).expect(202)
    expect((await http.get('/ui/digests').expect(200)).text).toContain('href="/ui/digests/daily"')
    const page = (await http.get('/ui/digests/daily').expect(200)).text
    for (const words of ['ops@example.com', 'Yesterday', 'signup (1)', 'somebody came', '/ui/schedules/digest.daily'])
      expect(page).toContain(words)
    await http.get('/ui/digests/none').expect(404)
  })

  test('show the last hour as figures, which scripts draw', async () => {
    const { http, submit, ends } = await startService({ types: ['throws'] })
    await ends((await submit({ type: 'throws' })).id)
    const page = (await http.get('/ui/').expect(200)).text
    expect(page).toContain('1 failed, 0 cancelled in the last hour')
    const charts = (await http.get('/ui/charts').expect(200)).text
    const [, data = ''] = /data-series="([^"]+failed[^"]+)"/.exec(charts) ?? []
    const { series } = JSON.parse(data.replaceAll('&quot;', '"'))
    expect(series[0].values.slice(-2)).toContain(1)
    const { last_hour } = (await http.get('/workers/stats').expect(200)).body
    expect(last_hour.failed).toHaveLength(60)
  })

  test('say what is wrong as a page', async () => {
    const { http } = await startService()
    const html = { accept: 'text/html,*/*' }
    for (const [path, status] of [
      ['/ui/jobs/none', 404],
      ['/ui/jobs?status=done', 400],
      ['/ui/nothing', 404],
      ['/ui/find', 400],
    ] as const) {
      const { headers, text } = await http.get(path).set(html).expect(status)
      expect(headers['content-type']).toBe('text/html; charset=utf-8')
      expect(text).toContain('role="alert"')
    }
    await http.get('/ui/live/jobs/none').expect(404)
    await http.get('/ui/jobs/none').expect('content-type', 'application/problem+json')
    await http.post('/ui/jobs/none/cancel').set('sec-fetch-site', 'cross-site').expect(403)
  })

  test('show hostile text as text', async () => {
    const [harmless, hostile] = [await everyPage('no luck'), await everyPage(POLYGLOT)]
    expect(hostile.map(markup)).toEqual(harmless.map(markup))
    for (const page of hostile) expect(page).not.toMatch(/<script>|<img/)
    expect(hostile.filter((page) => page.includes('&lt;script&gt;')).length).toBeGreaterThan(10)
  })

  test('show the end of a long log, and do not send it again while the job runs', async () => {
    const lines = `export default { async run(_, ctx) { for (let i = 1; i <= 700; i += 1) ctx.log('line ' + i)
      await new Promise((stop) => ctx.signal.addEventListener('abort', stop)) } }`
    const { http, url, submit } = await startService({ files: { 'types/lines.mjs': lines } })
    const { id } = await submit({ type: 'lines' })
    const page = async () => (await http.get(`/ui/jobs/${id}`).expect(200)).text
    const text = await until('all lines are there', async () => (await page()).includes('line 700\n') && page())
    expect(text).toContain('200 lines before')
    expect(text).not.toContain('line 200\n')
    expect(text).toContain('data-run="1" data-line="700"')
    // As its script asks for what comes.
    const after = await http.get(`/jobs/${id}/logs?cursor=1.699`).expect(200)
    expect(after.body.logs.map(({ message }: { message: string }) => message)).toEqual(['line 700'])
    const stream = await fetch(`${url}/ui/live/jobs/${id}`)
    const reader = stream.body?.getReader()
    let sent = ''
    await until('it is sent', async () => {
      sent += Buffer.from((await reader?.read())?.value ?? []).toString()
      return sent.includes('</section>') && sent.includes('data-log-over')
    })
    expect(sent).not.toContain('line 700')
    await reader?.cancel()
  })

  test('show times as they are where scripts count the ages, so that nothing is sent for them', async () => {
    const { http, url, submit } = await startService()
    await submit({ type: 'greet', delay: '1h', payload: { name: 'x' } })
    expect((await http.get('/ui/jobs').expect(200)).text).toMatch(/data-age>(\d+ m?s ago|in 1 h|in 60 min)</)
    const reader = (await fetch(`${url}/ui/live/jobs`)).body?.getReader()
    let sent = ''
    await until('it is sent', async () => {
      sent += Buffer.from((await reader?.read())?.value ?? []).toString()
      return sent.includes('</table>')
    })
    expect(sent).toMatch(/data-age>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d</)
    expect(sent).not.toMatch(/ ago</)
    await reader?.cancel()
  })

  test('make characters visible that turn round what stands beside them', async () => {
    const { http, submit, ends } = await startService({ files: TYPES })
    const { id } = await submit({ type: 'fails', payload: { message: 'a\u202eb\u0007' } })
    await ends(id)
    for (const path of [`/ui/jobs/${id}`, '/ui/jobs']) {
      const { text } = await http.get(path).expect(200)
      for (const character of ['\u202e', '\u0007']) expect(text).not.toContain(character)
      expect(text).toContain('a\\u202eb\\u0007')
    }
  })

  test('keep up to date, each rendered once for all who look, until the job is final', async () => {
    const { http, url, submit, reaches } = await startService()
    const { id } = await submit({ type: 'polite', payload: { at_end: 'return' } })
    await reaches(id, 'processing')
    const texts = ['', '']
    const reads = texts.map(async (_, i) => {
      const { body } = await fetch(`${url}/ui/live/jobs/${id}`)
      for await (const chunk of body ?? []) texts[i] += Buffer.from(chunk).toString()
    })
    await until('both have begun', () => texts.every((text) => text.includes('processing')))
    await http.post(`/jobs/${id}/cancel`).expect(202)
    await Promise.all(reads)
    for (const text of texts) {
      expect(text).toMatch(/event: done\ndata: \{\}\n\n$/)
      expect(text).toContain('class="status cancelled"')
    }
  })
})

describe('where there are keys', () => {
  const key = newKey()
  const start = (scopes: string[]) =>
    startService({ config: { auth: { keys: [{ name: 'k', sha256: sha256Of(key), scopes }] } } })

  test('pages ask for one, and a cookie that no other site makes a browser send lets in', async () => {
    const { http } = await start(['admin'])
    for (const [path, next] of [
      ['/', ''],
      ['/ui/', '?next=%2Fui%2F'],
      ['/ui/jobs?status=failed', '?next=%2Fui%2Fjobs%3Fstatus%3Dfailed'],
    ])
      await http
        .get(String(path))
        .set({ accept: 'text/html', Cookie: 'jobmill_key=old' })
        .expect(303)
        .expect('location', `/ui/login${next}`)
    const form = (await http.get('/ui/login?next=%2Fui%2Fjobs%3Fstatus%3Dfailed').expect(200)).text
    expect(form).toContain('name="next" value="/ui/jobs?status=failed"')
    const signIn = (next: string) => http.post('/ui/login').type('form').send({ key, next }).expect(303)
    expect((await signIn('/ui/jobs?status=failed')).headers.location).toBe('/ui/jobs?status=failed')
    for (const next of [
      '//example.com/ui/',
      'https://example.com/ui/',
      '/\\example.com',
      '/ui/\r\nSet-Cookie: a=b',
      '/jobs',
    ])
      expect((await signIn(next)).headers.location).toBe('/ui/')
    await http.get('/ui/jobs').expect(401)
    await http.get('/ui/assets/pages.css').expect(200)
    expect((await http.get('/ui/login').expect(200)).text).toContain('type="password"')
    const refused = await http.post('/ui/login').type('form').send({ key: 'jm_wrong' }).expect(403)
    expect(refused.headers).not.toHaveProperty('set-cookie')
    const signed_in = await http.post('/ui/login').type('form').send({ key }).expect(303)
    const [cookie = ''] = signed_in.headers['set-cookie'] ?? []
    expect(cookie).toMatch(/^jobmill_key=jm_[\w-]+; Path=\/; HttpOnly; SameSite=Strict$/)
    const Cookie = cookie.split(';')[0] ?? ''
    await http.get('/ui/').set({ Cookie }).expect(200)
    await http.get('/jobs').set({ Cookie }).expect(200)
    await http.post('/jobs').set({ Cookie, 'Sec-Fetch-Site': 'cross-site' }).send({ type: 'greet' }).expect(403)
    await http.get('/jobs').expect(401)
  })

  test('a key that may only read changes nothing', async () => {
    const { http } = await start(['jobs:read'])
    const Cookie = `jobmill_key=${key}`
    await http.get('/ui/jobs').set({ Cookie }).expect(200)
    await http.post('/ui/jobs/some/cancel').set({ Cookie }).expect(403)
  })
})
