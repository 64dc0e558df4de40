// Schedules over HTTP: defined, refused, fired, caught up, paused, run by hand, looked at.
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.js'
import { createLogger } from '../../src/log.js'
import { createService } from '../../src/service.js'
import { freshFolder } from '../support/folder.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const GREET = { type: 'greet', payload: { name: 'you' } }
const HOUR = 3_600_000
const T0 = Date.parse('2030-01-01T00:00:00Z')

/** Those that are not jobmill's own upkeep. */
const ours = <S extends { source: string }>(schedules: S[]) => schedules.filter(({ source }) => source !== 'system')

interface Tick {
  tick_at: string
  until: string | null
  outcome: string
  job_id: string | null
  reason: string
}

async function start(schedules: object = {}) {
  let now = T0
  const service = await startService({ config: { schedules }, now: () => now })
  const { http } = service
  const history = async (name: string, limit = 100): Promise<Tick[]> =>
    (await http.get(`/schedules/${name}/history?limit=${limit}`).expect(200)).body.history
  return {
    ...service,
    history,
    put: (name: string, body: object) => http.put(`/schedules/${name}`).send(body),
    get: async (name: string) => (await http.get(`/schedules/${name}`).expect(200)).body,
    /** The clock is that much later, and the service has looked at it. */
    async later(ms: number): Promise<void> {
      now += ms
      const job = (await http.post('/schedules/look/run').expect(202)).body.id
      await service.ends(job)
      // Both end with the pass that the end of that run made begin.
      await until('all that was due was fired', async () => {
        const { schedules } = (await http.get('/schedules')).body
        return schedules.every(
          ({ source, next_at }: { source: string; next_at: string | null }) =>
            source === 'system' || next_at === null || Date.parse(next_at) > now,
        )
      })
    },
  }
}

const LOOK = { look: { every: '3650d', overlap: 'queue', job: GREET } }

describe('PUT /schedules/:name', () => {
  test('defines one, which is shown whole, and listed a page at a time', async () => {
    const { http, put, get } = await start()
    const { body, headers } = await put('hourly', { cron: '0 * * * *', time_zone: 'Europe/Berlin', job: GREET }).expect(
      201,
    )
    expect(headers.location).toBe('/schedules/hourly')
    expect(body).toEqual({
      name: 'hourly',
      source: 'http',
      cron: '0 * * * *',
      time_zone: 'Europe/Berlin',
      start_at: null,
      end_at: null,
      overlap: 'skip',
      catch_up: 'last',
      max_lateness: '1d',
      max_catch_up: 100,
      paused: false,
      paused_at: null,
      job: GREET,
      next_at: '2030-01-01T01:00:00.000Z',
      created_at: '2030-01-01T00:00:00.000Z',
      updated_at: '2030-01-01T00:00:00.000Z',
      totals: null,
    })
    expect(await get('hourly')).toEqual(body)
    await put('fields', { fields: { hours: [[10, 12]], days_of_week: ['mon', ['wed', 'fri']] }, job: GREET }).expect(
      201,
    )
    const page = await http.get('/schedules?limit=1').expect(200)
    expect(page.body).toMatchObject({ schedules: [{ name: 'fields' }], next_cursor: 'fields' })
    expect(page.headers.link).toBe('</schedules?limit=1&cursor=fields>; rel="next"')
    expect((await http.get('/schedules?limit=1&cursor=fields').expect(200)).body.schedules).toMatchObject([
      { name: 'hourly' },
    ])
    expect((await http.get('/schedules?cursor=system.retention').expect(200)).body).toMatchObject({
      schedules: [{ name: 'system.ticks', source: 'system' }],
      next_cursor: null,
    })
    await http.delete('/schedules/fields').expect(204)
    await http.delete('/schedules/fields').expect(404)
    for (const path of ['fields', 'fields/next', 'fields/history']) await http.get(`/schedules/${path}`).expect(404)
    await http.get('/schedules?limit=0').expect(400)
    await http.get('/schedules?cursor=%20').expect(400)
  })

  test('leaves a grid where it is when it is the same, and takes another interval at once', async () => {
    const { put, later, get } = await start(LOOK)
    await put('grid', { every: '10m', job: GREET }).expect(201)
    await later(4 * 60_000)
    expect((await put('grid', { every: '10m', job: GREET }).expect(200)).body.next_at).toBe('2030-01-01T00:10:00.000Z')
    const other = { every: '10m', job: { ...GREET, priority: 1 } }
    expect((await put('grid', other).expect(200)).body.next_at).toBe('2030-01-01T00:10:00.000Z')
    expect((await put('grid', { every: '1m', job: GREET }).expect(200)).body.next_at).toBe('2030-01-01T00:05:00.000Z')
    const started = { every: '7m', start_at: '2030-01-01T00:00:30+00:00', job: GREET }
    expect((await put('grid', started).expect(200)).body.next_at).toBe('2030-01-01T00:07:30.000Z')
    expect(await get('grid')).toMatchObject({ every: '7m', mode: 'fixed_rate', start_at: '2030-01-01T00:00:30.000Z' })
  })

  const WRONG: [string, object, string][] = [
    ['nothing to fire by', { job: GREET }, ''],
    ['two of it', { every: '1m', cron: '* * * * *', job: GREET }, '/cron'],
    ['a short interval', { every: '99ms', job: GREET }, '/every'],
    ['an interval that is none', { every: 'often', job: GREET }, '/every'],
    ['a mode of a cron', { cron: '* * * * *', mode: 'fixed_rate', job: GREET }, '/mode'],
    ['month 13', { cron: '0 0 1 13 *', job: GREET }, '/cron'],
    ['an empty range', { cron: '50-30 * * * *', job: GREET }, '/cron'],
    ['too few fields', { cron: '* *', job: GREET }, '/cron'],
    ['a day that never comes', { cron: '0 0 30 2 *', job: GREET }, '/cron'],
    ['fields that never come', { fields: { days_of_month: [31], months: [['apr', 'apr']] }, job: GREET }, '/fields'],
    ['a second out of range', { fields: { seconds: [0, 60] }, job: GREET }, '/fields/seconds/1'],
    ['an empty range of a list', { fields: { hours: [[12, 10]] }, job: GREET }, '/fields/hours/0'],
    ['an unknown field', { fields: { years: [2030] }, job: GREET }, '/fields/years'],
    ['an unknown zone', { cron: '* * * * *', time_zone: 'Mars/Base', job: GREET }, '/time_zone'],
    [
      'an end before its start',
      { every: '1m', start_at: '2030-02-01T00:00:00Z', end_at: '2030-01-01T00:00:00Z', job: GREET },
      '/end_at',
    ],
    ['overlap skip with catch_up all', { every: '1m', catch_up: 'all', overlap: 'skip', job: GREET }, '/overlap'],
    ['an unknown key', { every: '1m', jitter: 3, job: GREET }, '/jitter'],
    ['no job', { every: '1m' }, '/job'],
    ['an unknown type', { every: '1m', job: { type: 'nope' } }, '/job/type'],
    [
      'a payload that does not fit',
      { every: '1m', job: { type: 'cleanup', payload: { older_than: 'x' } } },
      '/job/payload/older_than',
    ],
    ['a job with a delay', { every: '1m', job: { ...GREET, delay: 3 } }, '/job/delay'],
    ['too much to catch up', { every: '1m', max_catch_up: 501, job: GREET }, '/max_catch_up'],
  ]
  test('refuses what cannot be meant, with the field and why', async () => {
    const { http, put } = await start()
    for (const [what, body, pointer] of WRONG) {
      const answer = await put('x', body)
      expect([what, answer.status, answer.body.errors?.[0]?.pointer]).toEqual([what, 422, pointer])
    }
    await put('a%20b', { every: '1m', job: GREET }).expect(422)
    expect(ours((await http.get('/schedules')).body.schedules)).toEqual([])
  })
})

describe('ticks', () => {
  test('make jobs that bear their name, one each; results are added up', async () => {
    const { http, put, later, history, ends, get } = await start(LOOK)
    await put('hourly', { cron: '0 * * * *', job: { ...GREET, tags: { a: 'b' }, priority: 2 } })
    for (let i = 0; i < 3; i += 1) await later(HOUR)
    const ticks = await history('hourly')
    expect(ticks.map(({ tick_at, outcome, reason }) => [tick_at, outcome, reason])).toEqual(
      ['03', '02', '01'].map((hour) => [`2030-01-01T${hour}:00:00.000Z`, 'ran', 'on_time']),
    )
    for (const { job_id } of ticks)
      expect(await ends(job_id as string)).toMatchObject({ schedule: 'hourly', tags: { a: 'b' }, priority: 2 })
    expect((await get('hourly')).totals).toMatchObject({ completed: 3, failed: 0, last_job_id: ticks[0]?.job_id })
    expect((await http.get('/jobs?tag=a:b')).body.jobs).toHaveLength(3)
  })

  test.each([
    ['none', [['skipped', 'missed', 5]]],
    [
      'last',
      [
        ['ran', 'caught_up', 1],
        ['skipped', 'superseded', 4],
      ],
    ],
    ['all', [['ran', 'caught_up', 5]]],
  ])('that were missed are caught up as catch_up says: %s', async (catch_up, expected) => {
    const { put, later, history } = await start(LOOK)
    await put('hourly', { cron: '0 * * * *', catch_up, job: GREET })
    await later(5.5 * HOUR)
    const found: [string, string, number][] = []
    for (const { outcome, reason } of await history('hourly')) {
      const last = found.at(-1)
      if (last?.[1] === reason) last[2] += 1
      else found.push([outcome, reason, 1])
    }
    expect(found).toEqual(expected)
  })

  test('that are too late, or too many, are recorded and not run', async () => {
    const { put, later, history } = await start(LOOK)
    await put('hourly', { every: '1h', catch_up: 'all', max_lateness: '90m', max_catch_up: 3, job: GREET })
    await later(10 * HOUR)
    const found = (await history('hourly')).map(({ tick_at, until, reason }) => [
      tick_at.slice(11, 13),
      until?.slice(11, 13) ?? null,
      reason,
    ])
    expect(found).toEqual([
      ['10', null, 'on_time'],
      ['09', null, 'caught_up'],
      ['08', null, 'too_late'],
      ['01', '07', 'too_many'],
    ])
  })

  test('of a pause are one record; while it lasts nothing is due', async () => {
    const { http, put, later, history, get } = await start(LOOK)
    await put('hourly', { every: '1h', catch_up: 'all', job: GREET })
    expect((await http.post('/schedules/hourly/pause').expect(200)).body).toMatchObject({ paused: true, next_at: null })
    await later(3.5 * HOUR)
    // The same document says nothing about the pause.
    expect((await put('hourly', { every: '1h', catch_up: 'all', job: GREET }).expect(200)).body.paused).toBe(true)
    expect(await history('hourly')).toEqual([])
    expect((await http.post('/schedules/hourly/resume').expect(200)).body.next_at).toBe('2030-01-01T04:00:00.000Z')
    expect(await history('hourly')).toMatchObject([
      { tick_at: '2030-01-01T01:00:00.000Z', until: '2030-01-01T03:00:00.000Z', outcome: 'skipped', reason: 'paused' },
    ])
    await later(HOUR)
    expect((await history('hourly'))[0]).toMatchObject({ outcome: 'ran', tick_at: '2030-01-01T04:00:00.000Z' })
    expect((await put('hourly', { every: '1h', paused: true, job: GREET }).expect(200)).body.paused).toBe(true)
    expect(await get('hourly')).toMatchObject({ paused: true })
  })

  test('are not fired twice by a clock that is set back, and end with end_at', async () => {
    const { put, later, history, get } = await start(LOOK)
    await put('hourly', { every: '1h', end_at: '2030-01-01T03:00:00Z', job: GREET })
    await later(HOUR)
    await later(-HOUR / 2)
    await later(HOUR / 2)
    expect(await history('hourly')).toHaveLength(1)
    await later(5 * HOUR)
    expect((await history('hourly'))[0]?.tick_at).toBe('2030-01-01T02:00:00.000Z')
    expect((await get('hourly')).next_at).toBeNull()
  })

  test('of a fixed delay count from the end of the last run', async () => {
    const { put, later, get, http, ends } = await start(LOOK)
    await put('after', { every: '10m', mode: 'fixed_delay', job: { type: 'polite', payload: {} } })
    await later(10 * 60_000)
    const [job] = (await http.get('/jobs?type=polite')).body.jobs
    expect((await get('after')).next_at).toBeNull()
    await later(25 * 60_000)
    expect((await http.get('/jobs?type=polite')).body.jobs).toHaveLength(1)
    await http.post(`/jobs/${job.id}/cancel`).expect(202)
    await ends(job.id)
    expect((await get('after')).next_at).toBe('2030-01-01T00:45:00.000Z')
  })
})

describe('use', () => {
  test('run makes a job now and leaves the next tick; not while a run is not over, where overlap is skip', async () => {
    const { http, put, history, ends, get } = await start()
    await put('rare', { every: '100d', job: { type: 'polite', payload: {} } })
    const { next_at } = await get('rare')
    const { body: job, headers } = await http.post('/schedules/rare/run').expect(202)
    expect(headers.location).toBe(`/jobs/${job.id}`)
    expect((await http.post('/schedules/rare/run').expect(409)).body.code).toBe('schedule_running')
    await http.post(`/jobs/${job.id}/cancel`)
    await ends(job.id)
    await http.post('/schedules/rare/run').expect(202)
    expect((await get('rare')).next_at).toBe(next_at)
    expect((await history('rare')).map(({ reason }) => reason)).toContain('asked')
    await http.post('/schedules/none/run').expect(404)
  })

  test('next looks ahead, from any time', async () => {
    const { http, put } = await start()
    await put('yearly', { cron: '30 2 29 2 *', time_zone: 'America/New_York', job: GREET })
    const next = async (query: string) => (await http.get(`/schedules/yearly/next?${query}`).expect(200)).body.next
    expect(await next('count=2')).toEqual(['2032-02-29T07:30:00.000Z', '2036-02-29T07:30:00.000Z'])
    expect(await next('count=1&from=2040-03-01T00:00:00Z')).toEqual(['2044-02-29T07:30:00.000Z'])
    for (const query of ['count=0', 'count=101', 'from=tomorrow'])
      await http.get(`/schedules/yearly/next?${query}`).expect(400)
  })
})

describe('schedules of the configuration', () => {
  test('are there at the start, refuse to be changed, and go with their lines', async () => {
    const folder = freshFolder({ 'config.yaml': { server: { port: 0 } } })
    const log = createLogger({ write: () => {} })
    const run = async (schedules: object, use: (url: string) => Promise<void>) => {
      const config = { ...loadConfig({ cwd: folder, env: {} }), schedules: schedules as Record<string, unknown> }
      const service = await createService(config, { log })
      await use(await service.start())
      await service.stop()
    }
    const tidy = { cron: '0 * * * *', job: { type: 'cleanup', payload: { older_than: '30d' } } }
    const of = async (url: string) =>
      (await (await fetch(`${url}/schedules`)).json()) as { schedules: { name: string; source: string }[] }
    await run({ tidy, other: tidy }, async (url) => {
      expect(ours((await of(url)).schedules)).toMatchObject([{ name: 'other', source: 'config' }, { name: 'tidy' }])
      const put = await fetch(`${url}/schedules/tidy`, { method: 'PUT', body: JSON.stringify(tidy) })
      const remove = await fetch(`${url}/schedules/tidy`, { method: 'DELETE' })
      expect([put.status, remove.status]).toEqual([409, 409])
      await fetch(`${url}/schedules/tidy/pause`, { method: 'POST' })
      await fetch(`${url}/schedules/mine`, { method: 'PUT', body: JSON.stringify(tidy) })
    })
    await run({ tidy }, async (url) => {
      expect(ours((await of(url)).schedules)).toMatchObject([
        { name: 'mine', source: 'http' },
        { name: 'tidy', paused: true },
      ])
    })
    await run({}, async (url) => expect(ours((await of(url)).schedules).map(({ name }) => name)).toEqual(['mine']))
  })
})

describe('system schedules', () => {
  test('are the upkeep of the service: looked at, run at once, never changed', async () => {
    const { http, submit, ends } = await startService({ config: { retention: { completed: { max_count: 0 } } } })
    const { id } = await submit({ type: 'greet' })
    await ends(id)
    const { body: listed } = await http.get('/schedules').expect(200)
    expect(listed.schedules.map(({ name }: { name: string }) => name)).toEqual([
      'system.disk-space',
      'system.due-jobs',
      'system.retention',
      'system.ticks',
    ])
    // At once, and not when the minute is over.
    const { body } = await http.post('/schedules/system.retention/run').expect(200)
    expect(body).toMatchObject({ source: 'system', paused: false, totals: { failed: 0, sums: { jobs: 1 } } })
    await http.get(`/jobs/${id}`).expect(404)
    expect((await http.get('/schedules/system.retention')).body.totals.completed).toBeGreaterThanOrEqual(1)
    const { history } = (await http.get('/schedules/system.retention/history')).body
    expect(history[0]).toMatchObject({ outcome: 'ran', reason: 'asked', detail: expect.stringContaining('jobs 1') })
    expect((await http.get('/schedules/system.retention/next')).body.next).toHaveLength(1)
    for (const path of ['pause', 'resume']) await http.post(`/schedules/system.retention/${path}`).expect(409)
    await http.delete('/schedules/system.retention').expect(409)
    const mine = await http.put('/schedules/system.mine').send({ every: '1m', job: GREET }).expect(409)
    expect(mine.body.code).toBe('schedule_fixed')
  })
})
