// Digests over HTTP: what applications tell, what a mail says, and when there is none.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import PostalMime from 'postal-mime'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { createLogger } from '../../src/log.js'
import { createService } from '../../src/service.js'
import { freshFolder } from '../support/folder.js'
import { shareService, startService } from '../support/service.js'
import { until } from '../support/until.js'

const HOUR = 3_600_000
const T0 = Date.parse('2030-01-01T00:00:00Z')
const OPS = { schedule: { every: '1h' }, recipients: 'ops@example.com', subject: 'What happened' }

async function mailsIn(folder: string) {
  const outbox = join(folder, 'data/outbox')
  const names = readdirSync(outbox).filter((name) => name.endsWith('.eml'))
  return Promise.all(names.sort().map((name) => PostalMime.parse(readFileSync(join(outbox, name)))))
}

async function start(digest: object = {}, config: object = {}) {
  let now = T0
  const service = await startService({
    config: { digests: { ops: { ...OPS, ...digest } }, ...config },
    types: ['throws'],
    now: () => now,
  })
  const { http } = service
  return {
    ...service,
    tell: (kind: unknown, text: unknown) => http.post('/digests/ops/events').send({ kind, text }),
    preview: async () => (await http.get('/digests/ops/preview').expect(200)).body,
    history: async () => (await http.get('/schedules/digest.ops/history').expect(200)).body.history,
    /** The clock is that much later; answers once the mail that was due then has gone out, or was not made. */
    async later(ms: number) {
      const before = (await http.get('/schedules/digest.ops/history')).body.history.length
      now += ms
      // Any change of a schedule makes the service look at the clock.
      await http.put('/schedules/look').send({ every: '3650d', job: { type: 'greet', payload: { name: `${now}` } } })
      const [tick] = await until('its tick has its record', async () => {
        const { history } = (await http.get('/schedules/digest.ops/history')).body
        return history.length > before && history
      })
      return tick.job_id === null ? tick : service.ends(tick.job_id)
    },
    mails: () => mailsIn(service.folder),
  }
}

describe('a digest', () => {
  test('mails what was told, once a period, with counts and lists; nothing where there is nothing to tell', async () => {
    const { tell, preview, later, mails, http } = await start()
    expect((await tell('signup', 'ann@example.com').expect(202)).body).toEqual({
      digest: 'ops',
      next_at: '2030-01-01T01:00:00.000Z',
    })
    await tell('signup', 'bob@example.com\r\nBcc: all@example.com').expect(202)
    await tell('backup', '3 GB in 12 s').expect(202)
    const shown = await preview()
    expect(shown).toMatchObject({
      name: 'ops',
      schedule: 'digest.ops',
      next_at: '2030-01-01T01:00:00.000Z',
      to: 'ops@example.com',
      subject: 'What happened',
      events: 3,
      counts: { backup: 1, signup: 2 },
      unlisted: 0,
    })
    expect((await http.get('/digests').expect(200)).body).toEqual({
      digests: [{ name: 'ops', schedule: 'digest.ops', next_at: '2030-01-01T01:00:00.000Z', events: 3 }],
    })
    expect(await later(HOUR)).toMatchObject({ type: 'email', status: 'completed' })
    const [mail] = await mails()
    expect(mail).toMatchObject({ subject: 'What happened', to: [{ address: 'ops@example.com' }] })
    expect(mail?.text?.replaceAll('\r\n', '\n').trim()).toBe(shown.body.trim())
    expect(mail?.text).toMatch(/3 events since 2030-01-01T00:00:00.000Z\s+backup: 1\s+signup: 2/)
    expect(mail?.text).toContain('2030-01-01T00:00:00.000Z  bob@example.com Bcc: all@example.com')
    expect(mail?.bcc).toBeUndefined()
    expect(await preview()).toMatchObject({ events: 0, counts: {}, next_at: '2030-01-01T02:00:00.000Z' })

    expect(await later(HOUR)).toMatchObject({
      outcome: 'skipped',
      reason: 'no_events',
      detail: 'there was nothing to tell',
    })
    await tell('signup', 'cat@example.com').expect(202)
    await later(HOUR)
    const [, second, ...more] = await mails()
    expect(second?.text).toContain('cat@example.com')
    expect(second?.text).not.toContain('ann@example.com')
    expect(more).toEqual([])
  })

  test('is sent when somebody asks, and refused where there is nothing to send', async () => {
    const { http, tell, ends, mails } = await start()
    const run = () => http.post('/schedules/digest.ops/run')
    expect((await run().expect(409)).body).toMatchObject({ code: 'digest_empty' })
    await tell('signup', 'ann').expect(202)
    await ends((await run().expect(202)).body.id)
    expect((await mails()).map(({ text }) => text?.includes('ann'))).toEqual([true])
    expect((await run().expect(409)).body).toMatchObject({ code: 'digest_empty' })
  })

  test('sends one mail for a time in which nobody looked, also where all ticks were to run', async () => {
    const { tell, later, mails, history } = await start({ schedule: { every: '1h', catch_up: 'all' } })
    await tell('signup', 'ann').expect(202)
    await later(3 * HOUR)
    await until('all three have their record', async () => (await history()).length === 3)
    expect((await history()).map(({ reason }: { reason: string }) => reason)).toEqual([
      'on_time',
      'superseded',
      'superseded',
    ])
    expect(await mails()).toHaveLength(1)
  })

  test('tells of jobs that ended as it asks for, and not of its own mails', async () => {
    const job_events = { statuses: ['failed', 'completed'], types: ['throws', 'email'] }
    const { submit, ends, preview, later } = await start({ job_events })
    const [throws, greet] = await Promise.all([
      submit({ type: 'throws', retry_count: 0 }),
      submit({ type: 'greet', payload: { name: 'you' } }),
    ])
    await Promise.all([ends(throws.id), ends(greet.id)])
    const shown = await preview()
    expect(shown.counts).toEqual({ 'throws failed': 1 })
    expect(shown.body).toContain(`${throws.id}: handler_error: `)
    await later(HOUR)
    expect(await preview()).toMatchObject({ events: 0 })
  })

  test('takes no more than its mail can hold, and says when there is room again', async () => {
    const { tell, preview, later, mails } = await start({}, { limits: { payload: '8KiB' } })
    let told = 0
    for (;;) {
      const answer = await tell('quotes', `"${told}"${'"'.repeat(500)}`)
      if (answer.status === 503) {
        expect(answer.body).toMatchObject({ code: 'digest_full' })
        expect(Number(answer.headers['retry-after'])).toBe(3_600)
        break
      }
      expect(answer.status).toBe(202)
      told += 1
    }
    expect(told).toBeGreaterThan(2)
    expect(await preview()).toMatchObject({ events: told })
    expect(await later(HOUR)).toMatchObject({ status: 'completed' })
    const [mail] = await mails()
    for (let i = 0; i < told; i += 1) expect(mail?.text).toContain(`"${i}"`)
    await tell('quotes', 'again').expect(202)
  })

  const theService = shareService({ config: { digests: { ops: OPS } } })

  test.each([
    [{ text: 'x' }, '/kind', 'is missing'],
    [{ kind: 'x' }, '/text', 'is missing'],
    [{ kind: 7, text: 'x' }, '/kind', 'must be a text of 1 to 64 characters'],
    [{ kind: 'x', text: '\u0000 \n' }, '/text', 'must be a text of 1 to 1000 characters'],
    [{ kind: 'x', text: 'x'.repeat(1_001) }, '/text', 'must be a text of 1 to 1000 characters'],
    [{ kind: 'x', text: 'x', to: 'me' }, '/to', 'unknown'],
  ])('refuses %j', async (body, pointer, detail) => {
    const { http } = await theService()
    const answer = await http.post('/digests/ops/events').send(body).expect(422)
    expect(answer.body).toMatchObject({ code: 'invalid_request', errors: [{ pointer }] })
    expect(answer.body.errors[0].detail).toContain(detail)
    expect((await http.post('/digests/ops/events').expect(400)).body.code).toBe('malformed_request')
    expect((await http.post('/digests/no/events').send({ kind: 'x', text: 'x' }).expect(404)).body).toMatchObject({
      code: 'digest_not_found',
      detail: expect.stringContaining('ops'),
    })
    expect((await http.get('/digests/no/preview').expect(404)).body.code).toBe('digest_not_found')
  })

  test('belongs to the configuration: its schedule is shown, and not changed over HTTP', async () => {
    const { http } = await start()
    const schedule = (await http.get('/schedules/digest.ops').expect(200)).body
    expect(schedule).toMatchObject({ source: 'config', every: '1h', job: { type: 'email' } })
    for (const name of ['digest.ops', 'digest.other'])
      expect((await http.put(`/schedules/${name}`).send({ every: '1h', job: {} }).expect(409)).body.code).toBe(
        'schedule_fixed',
      )
    expect((await http.delete('/schedules/digest.ops').expect(409)).body.code).toBe('schedule_fixed')
    await http.post('/schedules/digest.ops/pause').expect(200)
    expect((await http.get('/digests').expect(200)).body.digests).toMatchObject([{ next_at: null }])
  })
})

test.each([
  [{ ops: { ...OPS, schedule: '61 * * * *' } }, /digests\.ops\.schedule\.cron: /],
  [{ ops: { ...OPS, schedule: { every: '1ms' } } }, /digests\.ops\.schedule\.every: /],
  [{ ops: { ...OPS, schedule: { every: '1h', job: {} } } }, /digests\.ops\.schedule: must be a cron expression, or/],
  [{ ops: { ...OPS, schedule: {} } }, /digests\.ops\.schedule: must have one of every, cron and fields/],
  [{ ops: { ...OPS, recipients: 'nobody' } }, /digests\.ops\.recipients: /],
  [{ ops: { ...OPS, recipients: undefined } }, /digests\.ops\.recipients: is missing/],
  [{ ops: { ...OPS, subject: 'a\nb' } }, /digests\.ops\.subject: /],
  [{ ops: { ...OPS, job_events: { statuses: ['pending'] } } }, /digests\.ops\.job_events\.statuses\.0: /],
  [{ ops: { ...OPS, every: '1h' } }, /digests\.ops\.every: unknown key/],
  [{ 'a b': OPS }, /digests\.a b: must have a name of 1 to 50 letters/],
])('a configuration with the digests %j does not start', async (digests, message) => {
  const folder = freshFolder({ 'config.yaml': { digests } })
  const log = createLogger({ write: () => {} })
  const service = async () => createService(loadConfig({ cwd: folder, env: {} }), { log })
  await expect(service()).rejects.toThrow(message)
})
