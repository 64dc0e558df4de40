// What the forms of the pages do, sent as a browser without scripts sends them: jobs from a form, and many jobs at once.
import { describe, expect, test } from 'vitest'
import { startService } from '../support/service.js'

const MAIL = { '/payload/to': 'user@example.com', '/payload/subject': 'Hello', '/payload/body': 'one\r\ntwo' }

/** The form of a type as it is shown, with its one-time key. */
async function aForm(options = {}) {
  const { http, ...service } = await startService(options)
  const send = (type: string, fields: object) => http.post(`/ui/submit/${type}`).type('form').send(fields)
  const onceOf = (page: string) => /name="once" value="([^"]+)"/.exec(page)?.[1] ?? ''
  const open = async (type: string) => onceOf((await http.get(`/ui/submit/${type}`).expect(200)).text)
  const jobs = async () => (await http.get('/jobs').expect(200)).body.jobs
  return { ...service, http, send, open, onceOf, jobs }
}

describe('the form of a type', () => {
  test('makes the job that was typed in, and leads to it', async () => {
    const { send, open, get } = await aForm()
    const options = { '/priority': '1', '/delay': '1h', '/tags': '{"customer": "17"}', '/retry_count': '0' }
    const { headers } = await send('email', { ...MAIL, ...options, once: await open('email') }).expect(303)
    const [, id = ''] = /^\/ui\/jobs\/(.+)$/.exec(headers.location ?? '') ?? []
    expect(await get(id)).toMatchObject({
      type: 'email',
      payload: { to: 'user@example.com', subject: 'Hello', body: 'one\ntwo' },
      status: 'scheduled',
      priority: 1,
      max_attempts: 1,
      tags: { customer: '17' },
    })
  })

  test('is one job however often it is sent, at once and later; a new form is a new one', async () => {
    const { send, open, jobs } = await aForm()
    const form = { ...MAIL, once: await open('email') }
    const twice = await Promise.all([send('email', form), send('email', form)])
    const again = await send('email', form)
    expect(new Set([...twice, again].map(({ headers }) => headers.location)).size).toBe(1)
    expect(await jobs()).toHaveLength(1)
    await send('email', { ...MAIL, once: await open('email') }).expect(303)
    expect(await jobs()).toHaveLength(2)
  })

  test('without a one-time key of ours is a new one each time', async () => {
    const { send, jobs } = await aForm()
    for (const once of ['', 'x']) await send('email', { ...MAIL, '/payload/subject': `with ${once}`, once }).expect(303)
    await send('email', { ...MAIL, once: '' }).expect(303)
    expect(await jobs()).toHaveLength(3)
  })

  test('sent again with something else says so, and is a new form then', async () => {
    const { send, open, onceOf, jobs } = await aForm()
    const once = await open('email')
    await send('email', { ...MAIL, once }).expect(303)
    const changed = { ...MAIL, '/payload/subject': 'Another' }
    const { text } = await send('email', { ...changed, once }).expect(422)
    expect(text).toContain('This form was sent before')
    expect(await jobs()).toHaveLength(1)
    await send('email', { ...changed, once: onceOf(text) }).expect(303)
    expect(await jobs()).toHaveLength(2)
  })

  test('that is refused comes back with all that was typed in, and what is wrong beside its field', async () => {
    const { send, open, jobs } = await aForm()
    const once = await open('email')
    const typed = { '/payload/to': 'nobody', '/payload/text': '<b>kept</b>', '/payload/attachments': '[{"name":""}]' }
    const { text } = await send('email', { ...typed, '/priority': '9', once }).expect(422)
    expect(text).toMatch(/name="\/priority"[^>]*aria-invalid="true"[^>]*value="9"/)
    expect(text).toContain('<details open>')
    const fields = await send('email', { ...typed, once }).expect(422)
    expect(fields.text).toMatch(/name="\/payload\/to"[^>]*aria-invalid="true"[^>]*value="nobody"/)
    expect(fields.text).toMatch(/<code>\/0\/name<\/code>/)
    expect(fields.text).toContain('&lt;b&gt;kept&lt;/b&gt;</textarea>')
    expect(fields.text).toContain(`value="${once}"`)
    const broken = await send('email', { ...MAIL, '/payload/attachments': '[', once }).expect(422)
    expect(broken.text).toContain('must be JSON')
    expect(await jobs()).toHaveLength(0)
    await send('email', { ...MAIL, once }).expect(303)
  })

  test('keeps what was typed in where the queue is full', async () => {
    const { send, open, submit } = await aForm({ config: { worker: { max_workers: 1, queue_size: 1 } } })
    await submit({ type: 'endless' })
    const { text } = await until503(async () => send('email', { ...MAIL, once: await open('email') }))
    expect(text).toContain('The queue is full')
    expect(text).toContain('value="Hello"')
  })

  test('takes any JSON where the type has no schema, and is none of a type that is not there', async () => {
    const { send, open, get, http } = await aForm()
    const { headers } = await send('greet', { '/payload': '{"name": "you"}', once: await open('greet') }).expect(303)
    expect((await get(String(headers.location).split('/').at(-1) ?? '')).payload).toEqual({ name: 'you' })
    await http.get('/ui/submit/none').expect(422)
    await send('none', { once: 'x' }).expect(422)
  })
})

/** Jobs are claimed meanwhile: sends until there is no room. */
async function until503(send: () => Promise<{ status: number; text: string }>) {
  for (let i = 0; i < 20; i += 1) {
    const answer = await send()
    if (answer.status === 503) return answer
  }
  throw new Error('there was always room')
}

describe('many jobs at once', () => {
  async function threeJobs() {
    const service = await startService({ types: ['throws'], config: { worker: { max_workers: 1 } } })
    const running = await service.submit({ type: 'polite', payload: { at_end: 'return' } })
    await service.reaches(running.id, 'processing')
    const tags = { customer: '17' }
    const pending = await service.submit({ type: 'greet', payload: { name: 'x' }, tags })
    const later = await service.submit({ type: 'greet', delay: '1h', payload: { name: 'x' } })
    const post = (path: string, fields: object) => service.http.post(path).type('form').send(fields)
    return { ...service, running, pending, later, post }
  }

  test('those that are ticked are cancelled, and run again', async () => {
    const { http, running, pending, later, post, get, reaches } = await threeJobs()
    const list = (await http.get('/ui/jobs').expect(200)).text
    for (const { id } of [running, pending, later]) expect(list).toContain(`form="selection" name="job.${id}"`)
    const ticked = { [`job.${running.id}`]: 'on', [`job.${later.id}`]: 'on', 'job.none': 'on' }
    const { text } = await post('/ui/jobs/selected', { verb: 'cancel', ...ticked }).expect(200)
    for (const words of ['1 cancelled', '1 asked to stop', '1 are gone']) expect(text).toContain(words)
    await reaches(running.id, 'cancelled')
    expect((await get(later.id)).reason_detail).toBe('cancelled on a page')
    await reaches(pending.id, 'completed')
    const again = { verb: 'rerun', [`job.${later.id}`]: 'on', [`job.${pending.id}`]: 'on' }
    expect((await post('/ui/jobs/selected', again).expect(200)).text).toContain('2 run again')
    await reaches(later.id, 'completed')
  })

  test('all that fit, after a question', async () => {
    const { http, running, pending, later, post, get } = await threeJobs()
    const list = (await http.get('/ui/jobs?type=greet').expect(200)).text
    expect(list).toContain('href="/ui/jobs/all?verb=cancel&amp;type=greet"')
    const question = (await http.get('/ui/jobs/all?verb=cancel&type=greet').expect(200)).text
    expect(question).toContain('<input type="hidden" name="type" value="greet">')
    expect((await get(later.id)).status).toBe('scheduled')
    const { text } = await post('/ui/jobs/all', { verb: 'cancel', type: 'greet' }).expect(200)
    expect(text).toContain('2 cancelled')
    const statuses = await Promise.all([running, pending, later].map(async ({ id }) => (await get(id)).status))
    expect(statuses).toEqual(['processing', 'cancelled', 'cancelled'])
    expect((await post('/ui/jobs/all', { verb: 'rerun', type: 'greet' }).expect(200)).text).toContain('2 run again')
  })

  test('all that fit are those of the list, whatever it was asked by', async () => {
    const { http, post, later } = await threeJobs()
    for (const query of [
      'batch=none',
      'created_after=2100-01-01T00%3A00%3A00Z',
      'type=none',
      'status=failed%2Ccancelled',
    ]) {
      const { text } = await http.get(`/ui/jobs?${query}&limit=5`).expect(200)
      expect(text).toContain('no jobs fit')
      const [, path = ''] = /href="(\/ui\/jobs\/all\?[^"]+)"/.exec(text) ?? []
      expect(path.replaceAll('&amp;', '&')).toContain(query)
      expect(text).toMatch(query.startsWith('status') ? /<option value="failed,cancelled" selected>/ : /name="batch"/)
    }
    const { text } = await post('/ui/jobs/all', { verb: 'cancel', batch: 'none' }).expect(200)
    expect(text).toContain('No job fitted')
    for (const name of ['constructor', 'toString', 'limit'])
      await post('/ui/jobs/all', { verb: 'cancel', [name]: '1' }).expect(422)
    expect((await http.get(`/jobs/${later.id}`).expect(200)).body.status).toBe('scheduled')
  })

  test('a list that goes on keeps what it was asked by', async () => {
    const { http } = await startService()
    const jobs = Array.from({ length: 7 }, () => ({ type: 'greet', delay: '1h', payload: { name: 'x' } }))
    await http.post('/jobs/batch').send({ jobs }).expect(202)
    const first = (await http.get('/ui/jobs?created_after=2020-01-01T00:00:00Z&limit=5').expect(200)).text
    const [, older = ''] = /<a href="([^"]+)">Older jobs/.exec(first) ?? []
    const { text } = await http.get(older.replaceAll('&amp;', '&')).expect(200)
    expect(text.match(/<tr id="job-/g)).toHaveLength(2)
  })

  test('more fields than a form may have are refused, not dropped', async () => {
    const { post } = await threeJobs()
    const ticked = Object.fromEntries(Array.from({ length: 1_100 }, (_, i) => [`job.${i}`, 'on']))
    await post('/ui/jobs/selected', { verb: 'cancel', ...ticked }).expect(400)
  })

  test('only what can be done to them is offered, and nothing is done to all by mistake', async () => {
    const { http, post } = await threeJobs()
    const offered = async (query: string) => {
      const { text } = await http.get(`/ui/jobs?${query}`).expect(200)
      return [...text.matchAll(/name="verb" value="(\w+)"/g)].map(([, verb]) => verb)
    }
    expect(await offered('')).toEqual(['cancel', 'rerun'])
    expect(await offered('status=pending')).toEqual(['cancel'])
    expect(await offered('status=failed')).toEqual(['rerun'])
    await post('/ui/jobs/selected', { verb: 'cancel' }).expect(422)
    await post('/ui/jobs/selected', { verb: 'delete', 'job.x': 'on' }).expect(422)
    await post('/ui/jobs/all', { verb: 'cancel', status: 'failed' }).expect(422)
    await post('/ui/jobs/all', { verb: 'cancel', tipe: 'greet' }).expect(422)
    await http.get('/ui/jobs/all?verb=rerun&status=pending').expect(422)
    await http.get('/ui/jobs/all').expect(400)
  })
})
