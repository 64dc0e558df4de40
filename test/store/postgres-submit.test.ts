// Jobs by SQL, in transactions of an application: the row that a node writes, and nobody who waits for anybody.
import pg from 'pg'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { createIds } from '../../src/ids.js'
import { newJob } from '../../src/new-job.js'
import { openPostgresStore } from '../../src/store/postgres/postgres.js'
import type { Store } from '../../src/store/store.js'
import { readSubmission } from '../../src/submission.js'
import { postgresMissing, usePostgres } from '../support/postgres.js'
import { until } from '../support/until.js'
import { RULES } from './conformance.js'
import { complete, expectCountsToFit, NO_BOUNDS, wholly } from './suite/stage.js'

const MAX_PAYLOAD = 300
const TYPES = [
  { name: 'email', timeout_ms: 60_000, retry_count: 3, max_payload: MAX_PAYLOAD },
  { name: 'export', timeout_ms: 600_000, retry_count: 1, max_payload: MAX_PAYLOAD },
]
/** As the HTTP side knows the same types. */
const SUBMISSION_RULES = {
  max_payload: MAX_PAYLOAD,
  types: new Map(TYPES.map((type) => [type.name, { ...type, disabled: null, payload: null } as never])),
}
const DAY = 86_400_000
let schemas = 0

describe.skipIf(postgresMissing !== null)(`jobs by SQL (${postgresMissing ?? 'a real server'})`, () => {
  const server = usePostgres()
  let stores: Store[] = []

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.url() })
    await client.connect()
    onTestFinished(() => client.end())
    return client
  }
  async function open(schema: string, types = TYPES, rules = RULES): Promise<Store> {
    const options = { source: server.url(), schema, node: `node-${stores.length}`, lease: 3_600_000, types }
    const store = await openPostgresStore(options, rules)
    stores.push(store)
    return store
  }
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()))
    stores = []
  })

  /** A node on an empty schema, and an application that knows nothing of its tables. */
  async function begin() {
    schemas += 1
    const schema = `by_sql_${schemas}`
    const store = await open(schema)
    const app = await connect()
    const submitBy = async (
      client: pg.Client,
      type: unknown,
      payload?: unknown,
      options?: unknown,
    ): Promise<string> => {
      const values = [type, payload, options].filter((value) => value !== undefined)
      const parameters = values.map((_, i) => `$${i + 1}`).join(', ')
      return (await client.query(`SELECT ${schema}.submit(${parameters}) AS id`, values)).rows[0].id
    }
    const rows = async (text: string, values: unknown[] = []) =>
      (await app.query(text.replaceAll('%s', schema), values)).rows
    return {
      schema,
      store,
      app,
      rows,
      submitBy,
      submit: (type: unknown, payload?: unknown, options?: unknown) => submitBy(app, type, payload, options),
      claim: async (at = Date.now()) =>
        (
          await store.claim({
            node: 'node-0',
            shares: TYPES.map(({ name }) => wholly(name)),
            slots: [1, 2, 3],
            now: at,
          })
        ).claimed,
      uncounted: async () => (await rows('SELECT * FROM %s.counts_added')).length,
      tick: () => store.tick({ node: 'node-0', now: Date.now() }),
    }
  }

  const later = new Date(Date.now() + 3 * DAY).toISOString()
  const latest = new Date(Date.now() + 9 * DAY).toISOString()

  test.each([
    ['nothing but a type', 'email', undefined, undefined],
    [
      'a payload',
      'email',
      '{"to": "user@example.com", "body": "a \\"b\\\\ : , \\\\\\" ü 😀 \\n c", "list": [1, 2.5, []]}',
      '{}',
    ],
    ['a payload that is no object', 'export', '"a,  b: c"', undefined],
    ['null as payload', 'email', 'null', '{}'],
    ['a delay', 'email', '{}', '{"delay": "10m"}'],
    ['a delay of fractions', 'email', '{}', '{"delay": 90.0005}'],
    ['a delay of nothing', 'email', '{}', '{"delay": 0, "priority": 1}'],
    ['a time', 'export', '{}', `{"run_at": "${later}", "priority": 5}`],
    ['a time with an offset and many digits', 'export', '{}', '{"run_at": "2099-12-31T23:30:00.1239-05:30"}'],
    ['a time that has passed', 'email', '{}', '{"run_at": "2001-02-03T04:05:06Z", "priority": 2}'],
    [
      'everything',
      'export',
      '{"a": 1}',
      `{"priority": 4, "run_at": "${later}", "start_by": "${latest}", "timeout": 90.5, "retry_count": 0, "tags": {"a": "1", "b.c": "x:y ü"}}`,
    ],
    ['a shorter timeout, no tags', 'export', '{}', '{"timeout": "2m", "tags": {}}'],
  ])('with %s have the row that a node writes', async (_, type, payload, options) => {
    const { rows, submit, store } = await begin()
    const id = await submit(type, payload, options)
    const [mine] = await rows('SELECT * FROM %s.jobs WHERE id = $1', [id])
    const now = Number(mine.created_at)
    const body = {
      type,
      ...(payload !== undefined && { payload: JSON.parse(payload) }),
      ...JSON.parse(options ?? '{}'),
    }
    const { keys, ...submission } = readSubmission(body, SUBMISSION_RULES, now)
    const job = newJob({ id: createIds(() => now)(), ...submission }, now, RULES)
    await store.submit([{ ...job, keys }], NO_BOUNDS)
    const [theirs] = await rows('SELECT * FROM %s.jobs WHERE id = $1', [job.id])
    expect(mine).toEqual({ ...theirs, id })
    expect(Math.abs(now - Date.now())).toBeLessThan(60_000)
    const tags = async (of: string) => rows('SELECT tag FROM %s.tags WHERE id = $1 ORDER BY tag', [of])
    expect(await tags(id)).toEqual(await tags(job.id))
    await expectCountsToFit(store)
  })

  const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
  test.each([
    ['email', '{}', '{"priority": 0}', 'options.priority: must be a whole number from 1 (high) to 5 (low)'],
    ['email', '{}', '{"priority": 2.5}', 'options.priority: must be'],
    ['email', '{}', '{"priority": "2"}', 'options.priority: must be'],
    ['email', '{}', '{"priority": null}', 'options.priority: must be'],
    ['email', '{}', '{"retry_count": 101}', 'options.retry_count: must be a whole number from 0 to 100'],
    ['email', '{}', '{"delay": -1}', 'options.delay: must be a number of seconds, or a text such as'],
    ['email', '{}', '{"delay": "3651d"}', 'options.delay: must be a number of seconds'],
    ['email', '{}', '{"delay": "10 m"}', 'options.delay: must be'],
    ['email', '{}', '{"delay": 1e300}', 'options.delay: must be'],
    ['email', '{}', '{"timeout": 0.0999}', 'options.timeout: must be'],
    ['email', '{}', '{"timeout": "61s"}', 'options.timeout: must not be longer than 60 seconds, the timeout of email'],
    [
      'email',
      '{}',
      '{"run_at": "2030-02-30T00:00:00Z"}',
      'options.run_at: must be a time such as "2030-01-31T08:30:00Z"',
    ],
    ['email', '{}', '{"run_at": "2030-01-31 08:30:00Z"}', 'options.run_at: must be a time'],
    ['email', '{}', '{"run_at": "2030-01-31T08:30:00"}', 'options.run_at: must be a time'],
    ['email', '{}', '{"run_at": "2030-01-31T24:00:00Z"}', 'options.run_at: must be a time'],
    ['email', '{}', '{"run_at": "tomorrow"}', 'options.run_at: must be a time'],
    ['email', '{}', '{"run_at": 1893456000}', 'options.run_at: must be a time'],
    ['email', '{}', '{"run_at": "9999-12-31T00:00:00.001Z"}', 'options.run_at: must lie between 1970 and 9999'],
    ['email', '{}', '{"run_at": "1969-12-31T23:59:59Z"}', 'options.run_at: must lie between 1970 and 9999'],
    ['email', '{}', `{"delay": 1, "run_at": "${later}"}`, 'options.run_at: must be left out where there is a delay'],
    ['email', '{}', '{"start_by": "2001-01-01T00:00:00Z"}', 'options.start_by: must be later than 20'],
    ['email', '{}', `{"run_at": "${later}", "start_by": "${later}"}`, `options.start_by: must be later than ${later}`],
    ['email', '{}', '{"tags": []}', 'options.tags: must be an object of texts'],
    ['email', '{}', '{"tags": {"a b": "c"}}', 'options.tags: must have names of 1 to 64 letters'],
    ['email', '{}', '{"tags": {"__proto__": "c"}}', 'options.tags: must not have an entry with the name __proto__'],
    ['email', '{}', '{"tags": {"a": 1}}', 'options.tags.a: must be a text of up to 255 characters'],
    ['email', '{}', `{"tags": {"a": "${'x'.repeat(256)}"}}`, 'options.tags.a: must be a text of up to 255'],
    [
      'email',
      '{}',
      JSON.stringify({ tags: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`t${i}`, ''])) }),
      'options.tags: must have at most 20 entries',
    ],
    ['email', '{}', '{"colour": "red"}', 'options.colour: is not taken here, options are priority, delay, run_at'],
    [
      'email',
      JSON.stringify('x'.repeat(MAX_PAYLOAD)),
      '{}',
      `payload: must not have more than ${MAX_PAYLOAD} bytes (limits.payload), it has 302`,
    ],
    ['email', deep(64), '{}', 'payload: must not be nested deeper than 63 levels'],
    ['email', '[1e400]', '{}', 'payload: must not have a number that is too large to be kept'],
  ])('of %s with payload %s and %s are refused, as over HTTP', async (type, payload, options, message) => {
    const { store, submit, rows } = await begin()
    const refused = submit(type, payload, options)
    await expect(refused).rejects.toMatchObject({ code: 'JM002' })
    await expect(refused).rejects.toThrow(message)
    expect(await rows('SELECT FROM %s.jobs UNION ALL SELECT FROM %s.counts_added')).toEqual([])
    expect(await store.counts()).toEqual({})
    // JSON that is too deep or not finite is refused before a submission is read.
    if (/nested|too large/.test(message)) return
    const body = { type, payload: JSON.parse(payload), ...JSON.parse(options) }
    expect(() => readSubmission(body, SUBMISSION_RULES, Date.now())).toThrow()
  })

  test.each([
    ['email', deep(63), undefined],
    ['email', `["${'[{'.repeat(70)}", "\\"]"]`, undefined],
    ['email', JSON.stringify(['9'.repeat(290)]), undefined],
    ['email', JSON.stringify('x'.repeat(MAX_PAYLOAD - 2)), undefined],
    ['email', '{}', '{"run_at": "9999-12-31T00:00:00Z"}'],
    ['email', '{}', '{"timeout": 60, "retry_count": 100, "delay": "3650d"}'],
    ['email', '{}', '{"timeout": "100ms", "priority": 3.0}'],
  ])('of %s with payload %s and %s are taken', async (type, payload, options) => {
    const { submit, store } = await begin()
    expect((await store.get(await submit(type, payload, options)))?.payload).toBe(payload.replace('", "', '","'))
  })

  test.each(['unique_key', 'unique_for', 'concurrency_key', 'depends_on', 'on_dependency_failure'])(
    'are refused with %s, which nodes would have to wait for',
    async (option) => {
      const { submit } = await begin()
      await expect(submit('email', '{}', `{"${option}": "x"}`)).rejects.toThrow(
        `options.${option}: is not taken here, options are priority, delay, run_at, start_by, timeout, retry_count, tags`,
      )
    },
  )

  test('of an unknown type are refused with the types that there are', async () => {
    const { submit } = await begin()
    const refused = submit('emial', '{}')
    await expect(refused).rejects.toMatchObject({ code: 'JM001' })
    await expect(refused).rejects.toThrow('type: there is no job type "emial", it must be one of email, export')
    await expect(submit(null, '{}')).rejects.toMatchObject({ code: 'JM001' })
  })

  test('are refused where something is NULL, or options are no object', async () => {
    const { submit } = await begin()
    await expect(submit('email', null)).rejects.toThrow('payload: must not be NULL')
    for (const options of [null, '[]', '"x"'])
      await expect(submit('email', '{}', options)).rejects.toThrow('options: must be a JSON object')
  })

  test('are what the node that started last says of their type; types that it does not have stay', async () => {
    const { schema, submit, rows } = await begin()
    await open(schema, [{ name: 'email', timeout_ms: 5_000, retry_count: 9, max_payload: 1_000 }], {
      ...RULES,
      priority_aging: 7,
    })
    const id = await submit('email', JSON.stringify('x'.repeat(900)))
    const [job] = await rows(
      'SELECT max_attempts, timeout_ms, rank - created_at AS behind FROM %s.jobs WHERE id = $1',
      [id],
    )
    expect(job).toEqual({ max_attempts: 10, timeout_ms: '5000', behind: '14' })
    await submit('export')
  })

  test('are refused where no node has told its types', async () => {
    await open('nobody', [])
    const app = await connect()
    await expect(app.query(`SELECT nobody.submit('email')`)).rejects.toThrow('no job type is known yet')
  })

  test('are gone, with their counts, when the transaction is rolled back', async () => {
    const { app, rows, store, submit } = await begin()
    await app.query('BEGIN')
    await submit('email', '{}', '{"tags": {"a": "b"}}')
    await app.query('ROLLBACK')
    expect(
      await rows('SELECT FROM %s.jobs UNION ALL SELECT FROM %s.tags UNION ALL SELECT FROM %s.counts_added'),
    ).toEqual([])
    expect(await store.counts()).toEqual({})
  })

  test('are seen by nobody before the commit, and claimed like any other after it', async () => {
    const { app, claim, store, submit, tick } = await begin()
    await app.query('BEGIN')
    const id = await submit('email', '{"to":"a@example.com"}', '{"tags": {"a": "b"}}')
    expect([await store.get(id), await claim(), await store.counts()]).toEqual([null, [], {}])
    await app.query('COMMIT')
    expect(await store.counts()).toEqual({ email: { now: { pending: 1 }, bytes: 22, ever: {} } })
    expect((await store.list({ tag: 'a:b' }, 10, null)).jobs).toMatchObject([{ id, status: 'pending' }])
    const [job] = await claim()
    expect(job).toMatchObject({
      id,
      status: 'processing',
      attempt: 1,
      max_attempts: 4,
      payload: '{"to":"a@example.com"}',
    })
    await tick()
    await store.settle([{ id, run: 1, step: complete, now: Date.now() }])
    expect(await store.counts()).toMatchObject({ email: { now: { completed: 1 }, ever: { completed: 1 } } })
    await expectCountsToFit(store)
  })

  test('are promoted when they are due', async () => {
    const { claim, submit } = await begin()
    const id = await submit('email', '{}', '{"delay": "1h"}')
    expect(await claim()).toEqual([])
    expect(await claim(Date.now() + 3_600_000)).toMatchObject([{ id, status: 'processing' }])
  })

  test('are counted before and after a node has taken their counts over', async () => {
    const { schema, rows, store, submit, tick, uncounted } = await begin()
    const other = await open(schema)
    for (const type of ['email', 'export', 'email']) await submit(type)
    await submit('email', '{}', '{"delay": 60}')
    const counts = {
      email: { now: { pending: 2, scheduled: 1 }, bytes: 6, ever: {} },
      export: { now: { pending: 1 }, bytes: 2, ever: {} },
    }
    expect([await uncounted(), await store.counts()]).toEqual([4, counts])
    // Of two nodes that take them over at once, each takes what the other one has not.
    await Promise.all([tick(), other.tick({ node: 'node-1', now: Date.now() })])
    expect([await uncounted(), await store.counts(), await other.counts()]).toEqual([0, counts, counts])
    expect(await rows('SELECT sum(n)::integer AS n FROM %s.counts')).toEqual([{ n: 4 }])
    // The bound of a submission over HTTP knows of them as well.
    await submit('email')
    const bounds = { ...NO_BOUNDS, max_pending: 4 }
    const job = newJob(
      { ...readSubmission({ type: 'email' }, SUBMISSION_RULES, Date.now()), id: createIds(Date.now)() },
      Date.now(),
      RULES,
    )
    await expect(store.submit([job], bounds)).rejects.toThrow('4 jobs are pending')
  })

  test('are taken over by claims, too', async () => {
    const { claim, submit, uncounted } = await begin()
    await submit('email')
    await until('they are taken over', async () => {
      await claim()
      return (await uncounted()) === 0
    })
  })

  test('of two transactions at once neither wait for each other nor hold up a node', async () => {
    const { app, claim, store, submit, submitBy, tick } = await begin()
    const second = await connect()
    for (const client of [app, second]) await client.query(`BEGIN; SET LOCAL lock_timeout = '2s'`)
    const mine = await submit('email')
    const theirs = await submitBy(second, 'email')
    // What a node writes meanwhile goes through all the same; it would be refused after 10 s.
    await store.submit(
      [
        newJob(
          { ...readSubmission({ type: 'email' }, SUBMISSION_RULES, Date.now()), id: createIds(Date.now)() },
          Date.now(),
          RULES,
        ),
      ],
      NO_BOUNDS,
    )
    expect(await claim()).toHaveLength(1)
    await tick()
    await second.query('COMMIT')
    expect((await claim()).map(({ id }) => id)).toEqual([theirs])
    await app.query('COMMIT')
    expect((await claim()).map(({ id }) => id)).toEqual([mine])
    await expectCountsToFit(store)
  })

  test('have ids that sort: by time among those of nodes, and by their order in a transaction', async () => {
    const { rows, app, schema } = await begin()
    const newId = createIds(Date.now)
    const before = newId()
    await new Promise((next) => setTimeout(next, 2))
    const { rows: made } = await app.query(`SELECT ${schema}.submit('email') AS id FROM generate_series(1, 200)`)
    await new Promise((next) => setTimeout(next, 2))
    const ids = [before, ...made.map(({ id }) => id), newId()]
    expect(ids.toSorted()).toEqual(ids)
    expect(new Set(ids).size).toBe(202)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    const [{ at, id }] = await rows('SELECT created_at AS at, id FROM %s.jobs LIMIT 1')
    expect(Number.parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(Number(at))
  })

  test('are submitted by a role that may do nothing else, whatever its search_path and settings', async () => {
    const { app, rows, schema, submit } = await begin()
    const role = `shop_${process.pid}`
    await app.query(`CREATE ROLE ${role}`)
    await app.query(`SET ROLE ${role}`)
    await expect(submit('email')).rejects.toThrow('permission denied for schema')
    await app.query(`RESET ROLE; GRANT USAGE ON SCHEMA ${schema} TO ${role}; SET ROLE ${role}`)
    await expect(submit('email')).rejects.toThrow('permission denied for function submit')
    await app.query(`RESET ROLE; GRANT EXECUTE ON FUNCTION ${schema}.submit TO ${role}; SET ROLE ${role}`)
    // Tables of its own do not stand in for those of jobmill.
    await app.query(
      `CREATE TEMP TABLE types (LIKE pg_class); CREATE TEMP TABLE jobs (id text); CREATE TEMP TABLE tags (id text)`,
    )
    await app.query(
      `SET search_path TO pg_temp; SET standard_conforming_strings TO off; SET DateStyle TO 'German'; SET TimeZone TO 'Asia/Tokyo'`,
    )
    const id = await submit('email', '{"a": "b \\\\ c"}', '{"run_at": "2099-01-02T03:04:05Z", "tags": {"a": "b"}}')
    for (const table of ['jobs', 'types', 'counts_added', 'keys'])
      await expect(app.query(`SELECT * FROM ${schema}.${table}`)).rejects.toThrow('permission denied')
    await expect(app.query(`SELECT ${schema}.submit_id(1)`)).rejects.toThrow('permission denied for function')
    await app.query('RESET ALL; RESET ROLE')
    expect(await rows('SELECT payload, run_at, reason_detail FROM %s.jobs WHERE id = $1', [id])).toEqual([
      {
        payload: '{"a":"b \\\\ c"}',
        run_at: String(Date.UTC(2099, 0, 2, 3, 4, 5)),
        reason_detail: 'accepted, due at 2099-01-02T03:04:05.000Z',
      },
    ])
    expect(await rows('SELECT * FROM %s.tags')).toEqual([{ id, tag: 'a:b' }])
    await app.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
})
